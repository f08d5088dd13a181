"""Features that are computed once give what the images give, and never outlive the weights that made them."""

import copy
import gc
import warnings
from dataclasses import replace

import pytest
import pytorch_lightning as pl
import torch
from helpers.passes import choose, passes_of, pool_pass, predict
from helpers.training import fit
from torch import nn

from dal.acquisition import BADGE, BALD, CoreSet, Margin
from dal.acquisition.search.rows import DiskRows
from dal.costs.ledger import Ledger
from dal.data.augment import HorizontalFlip
from dal.data.images import TensorSource
from dal.errors import DalError, NonFiniteError
from dal.models.adapt import adapt, as_adapted
from dal.models.backbones import Backbone, SmallCNN
from dal.models.classifier import Classifier
from dal.scoring.config import ScoringConfig
from dal.scoring.feature_cache import FeatureCache, FeatureSource, takes_features, weights_digest
from dal.tasks import CLASSIFICATION

FUNCTIONS = [Margin(), BALD(num_draws=4), CoreSet(), BADGE()]


class Counted(SmallCNN):
    """Counts the images that go through it, all tiles filled up."""

    def __init__(self):
        super().__init__(1, (8, 8))
        self.images = 0

    def forward(self, x):
        self.images += len(x)
        return super().forward(x)


def frozen(seed=0, backbone=Counted):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return as_adapted(Classifier(backbone(), 3, lr=3e-3, freeze_backbone=True))


@pytest.fixture
def model():
    return frozen()


def features_one_by_one(model, data):
    backbone = model.module.backbone
    with torch.no_grad():
        return torch.cat([backbone(data.plain([i])) for i in range(len(data))])


def test_the_view_has_the_features_and_all_that_the_data_has_beside_its_images(model, data):
    data = replace(data, labels=torch.where(torch.arange(90) < 10, -1, data.labels), set_aside={"a.png": "broken"})
    view = FeatureCache().view(passes_of(model), data)
    assert view.plain(range(90)).dtype == torch.float32
    torch.testing.assert_close(view.plain(range(90)), features_one_by_one(model, data))
    assert torch.equal(view.plain([7, 3]), view.plain(range(90))[[7, 3]])
    assert torch.equal(view.subset([5, 2]).plain([1]), view.plain([2]))
    assert torch.equal(view.labels, data.labels)
    for name in ("name", "ids", "classes", "set_aside"):
        assert getattr(view, name) == getattr(data, name)
    assert view.fingerprint().startswith(data.fingerprint().rpartition("-")[0])


def test_features_are_computed_once(model, data, test_data):
    cache, backbone = FeatureCache(), model.module.backbone
    view = cache.view(passes_of(model), data)
    assert backbone.images >= 90
    backbone.images = 0
    assert cache.view(passes_of(model), data) is view
    nn.init.zeros_(model.module.head.weight)
    model.module.load_state_dict(copy.deepcopy(model.module.state_dict()))
    assert cache.view(passes_of(model), data) is view, "a new head leaves the features as they are"
    assert backbone.images == 0
    assert len(cache.view(passes_of(model), test_data)) == 60
    assert cache.view(passes_of(model), data) is view, "other images do not drive these out"


@pytest.mark.parametrize("what", ["a weight", "a fresh start", "a buffer"])
def test_features_do_not_survive_a_change_of_the_backbone(data, what):
    class Normed(Counted):
        def __init__(self):
            super().__init__()
            self.layers.append(nn.BatchNorm1d(128))

    model, cache = frozen(backbone=Normed), FeatureCache()
    before = cache.view(passes_of(model), data)
    old = before.plain(range(90)).clone()
    if what == "a weight":
        with torch.no_grad():
            model.module.backbone.layers[0].weight[3] += 0.5
    elif what == "a fresh start":
        model.module.load_state_dict(frozen(seed=1, backbone=Normed).module.state_dict())
    else:
        model.module.backbone.layers[-1].running_mean += 1
    after = cache.view(passes_of(model), data)
    torch.testing.assert_close(after.plain(range(90)), features_one_by_one(model, data))
    assert (after.plain(range(90)) - old).abs().max() > 0.01
    assert torch.equal(before.plain(range(90)), old), "who still holds the old view reads what it was"


def test_the_digest_tells_names_shapes_types_and_values_and_no_device_or_layout():
    def digest(**tensors):
        holder = nn.Module()
        for name, value in tensors.items():
            holder.register_buffer(name, value)
        return weights_digest(holder)

    x = torch.arange(6.0).view(2, 3)
    others = [
        digest(a=x),
        digest(b=x),
        digest(a=x.view(3, 2)),
        digest(a=x.view(torch.int32)),
        digest(a=x + torch.tensor([[0, 0, 0], [0, 0, 1e-6]])),
        digest(a=x.flip(0)),
        digest(a=x, b=torch.tensor(1)),
    ]
    assert len(set(others)) == len(others)
    assert digest(a=x.T.contiguous().T) == digest(a=x)


def test_what_trains_on_images_is_refused(data):
    class Mine(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(64, 3)

        def forward(self, x):
            return self.fc(x.flatten(1))

    expected = "model: expected a Classifier with freeze_backbone=True for cached features, got {}; a "
    expected += "custom training_step needs images."
    for model, what in (
        (adapt(Mine(), "fc"), "adapt(Mine(...))"),
        (as_adapted(Classifier(SmallCNN(1, (8, 8)), 3)), "one that is not frozen"),
    ):
        assert not takes_features(model)
        with pytest.raises(DalError) as error:
            FeatureCache().view(passes_of(model), data)
        assert str(error.value) == expected.format(what)


def test_the_augmentation_is_left_out_and_a_warning_says_so_once(model, data, test_data):
    class Owners:
        def __len__(self):
            return 90

        def augmented_batch(self, indices, generator):
            raise AssertionError("read")

    for changes in ({"augmentation": HorizontalFlip(1.0)}, {"augmented_source": Owners()}):
        augmented, cache = replace(data, **changes), FeatureCache()
        with pytest.warns(UserWarning, match=r"plain images; the augmentation of 'toy' is ignored\.$") as said:
            view = cache.view(passes_of(model), augmented)
            cache.view(passes_of(model), replace(test_data, augmentation=HorizontalFlip(1.0)))
        assert len(said) == 1
        assert torch.equal(
            view.augmented([4, 2], torch.Generator()), FeatureCache().view(passes_of(model), data).plain([4, 2])
        )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FeatureCache().view(passes_of(model), data)


def test_features_that_are_not_finite_name_the_image(model, data):
    class Broken(TensorSource):
        def batch(self, indices):
            images = super().batch(indices).float()
            images[torch.tensor(indices) == 17] = torch.nan
            return images

    with pytest.raises(NonFiniteError, match=r"'toy-017' \(index 17\)"):
        FeatureCache().view(passes_of(model), replace(data, source=Broken(data.source.images)))


def test_features_beyond_the_budget_lie_on_disk(model, data, tmp_path):
    half = 90 * 128 * 4
    # Of 4 bytes less than twice what the features take.
    for budget, on_disk in ((2 * half - 4, True), (2 * half, False)):
        scoring = ScoringConfig(memory_budget=str(budget), disk_folder=str(tmp_path), tile_size=8)
        view = FeatureCache().view(passes_of(model, config=scoring), data)
        assert isinstance(view.source, FeatureSource) and isinstance(view.source.rows, DiskRows) == on_disk
        torch.testing.assert_close(view.plain(range(90)), features_one_by_one(model, data))
        assert torch.equal(view.plain([80, 3, 3]), view.plain(range(90))[[80, 3, 3]])


def test_features_go_with_the_data(model, data):
    cache = FeatureCache()
    passing = replace(data, source=TensorSource(data.source.images))
    cache.view(passes_of(model), passing)
    cache.view(passes_of(model), data)
    assert len(cache._kept) == 2
    del passing
    gc.collect()
    assert list(cache._kept) == [data]


def test_the_ledger_counts_each_pass_and_no_pass_twice(model, data, test_data):
    ledger, cache, seen = Ledger(), FeatureCache(), []
    options = {"ledger": ledger, "on_progress": lambda *progress: seen.append(progress)}
    cache.view(passes_of(model, **options), data)
    cache.view(passes_of(model, **options), data)
    assert ledger.row()["samples_forward_embed"] == 90
    assert seen[-1] == ("embed", 90, 90)
    cache.view(passes_of(model, **options), test_data)
    assert ledger.row()["samples_forward_embed"] == 150
    assert ledger.row()["samples_forward_score"] == 0
    nn.init.zeros_(model.module.backbone.layers[0].bias)
    cache.view(passes_of(model, **options), data)
    assert ledger.row()["samples_forward_embed"] == 240


def test_what_a_resumed_run_makes_again_is_not_counted_twice(model, data, test_data):
    ledger, cache = Ledger(), FeatureCache()
    cache.already_counted(model)
    for images in (data, test_data):
        torch.testing.assert_close(
            cache.view(passes_of(model, ledger=ledger), images).plain(range(60)),
            features_one_by_one(model, images)[:60],
        )
    assert ledger.row().get("samples_forward_embed", 0) == 0
    assert ledger.row().get("flops_forward_embed", 0) == 0
    nn.init.zeros_(model.module.backbone.layers[0].bias)
    cache.view(passes_of(model, ledger=ledger), data)
    assert ledger.row()["samples_forward_embed"] == 90, "other weights are another pass"
    FeatureCache().already_counted(as_adapted(Classifier(SmallCNN(1, (8, 8)), 3)))


def a_round(images, test_images, train, acquisition, model, quick, ledger):
    """Train on 30 points, test, and choose 20 of the others."""
    labeled = (torch.arange(30), train.labels[:30])
    fit(model, images, labeled, config=quick, seed=4, ledger=ledger, trainer_options={"accelerator": "cpu"})
    logits = predict(model, test_images, torch.arange(60))
    chosen = choose(model, acquisition, (images, torch.arange(30, 90)), (images, labeled[0]), 20, seed=4, ledger=ledger)
    return CLASSIFICATION.metrics(logits, test_images.labels), chosen


@pytest.mark.parametrize("acquisition", FUNCTIONS, ids=lambda f: f.name)
def test_a_round_on_features_is_the_round_on_images_and_spares_the_backbone(acquisition, data, test_data, quick):
    on_images, on_features, cache = frozen(), frozen(), FeatureCache()
    ledgers = Ledger(), Ledger()
    expected, chosen = a_round(data, test_data, data, acquisition, on_images, quick, ledgers[0])
    views = [cache.view(passes_of(on_features, ledger=ledgers[1]), images) for images in (data, test_data)]
    found, again = a_round(*views, data, acquisition, on_features, quick, ledgers[1])
    assert again.positions.tolist() == chosen.positions.tolist()
    assert found.accuracy == expected.accuracy > 0.5
    assert found.confusion_matrix == expected.confusion_matrix
    assert found.loss == pytest.approx(expected.loss, rel=1e-4)
    for name, value in on_images.module.state_dict().items():
        torch.testing.assert_close(value, on_features.module.state_dict()[name], rtol=1e-3, atol=1e-5)
    # 20 updates of 16 images and the checks are not seen by it; 150 points are, in tiles that are filled up.
    assert on_features.module.backbone.images < 320 < 800 < on_images.module.backbone.images
    assert ledgers[1].row()["samples_forward_train"] == ledgers[0].row()["samples_forward_train"] == 320
    assert ledgers[1].row()["flops_forward_train"] < 0.1 * ledgers[0].row()["flops_forward_train"]


@pytest.mark.parametrize("acquisition", FUNCTIONS, ids=lambda f: f.name)
def test_new_images_rank_as_their_features_do(acquisition, data, test_data, model):
    """A model that trained on features ranks a folder of photographs."""
    cache = FeatureCache()
    labeled = torch.arange(10)
    views = [cache.view(passes_of(model), images) for images in (data, test_data)]
    everything = torch.arange(60)
    from_images, from_features = (
        choose(model, acquisition, (new, everything), (old, labeled), 60, seed=2)
        for old, new in ((data, test_data), views)
    )
    assert from_images.positions.tolist() == from_features.positions.tolist()
    torch.testing.assert_close(from_images.scores, from_features.scores, rtol=1e-4, atol=1e-6)


def test_dropout_inside_the_backbone_is_no_part_of_the_draws(data):
    """Were it, draws on images would differ from draws on features."""

    class Dropping(Backbone):
        num_features = 64

        def __init__(self):
            super().__init__()
            self.dropout = nn.Dropout(0.5)

        def forward(self, x):
            return self.dropout(x.flatten(1))

    def log_probs(images):
        return pool_pass(model, images, torch.arange(20), lambda view, x: (view.mc_log_probs(x, 3),), seed=1)[0]

    model = frozen(backbone=Dropping)
    on_images, on_features = log_probs(data), log_probs(FeatureCache().view(passes_of(model), data))
    torch.testing.assert_close(on_images, on_features)
    assert (on_images[:, 0] - on_images[:, 1]).abs().max() > 0.01


def test_features_in_half_precision_take_half_the_memory_and_are_read_in_single(model, data):
    view = FeatureCache().view(passes_of(model, config=ScoringConfig(precision="bf16")), data)
    features = view.plain(range(90))
    assert (view.source.rows.dtype, features.dtype) == (torch.bfloat16, torch.float32)
    torch.testing.assert_close(features, features_one_by_one(model, data), rtol=0.05, atol=0.02)


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("budget", [None, "1KiB"])
def test_workers_read_features_too(model, data, num_workers, budget):
    scoring = ScoringConfig(memory_budget=budget, num_workers=num_workers, batch_size=32, tile_size=16)
    view = FeatureCache().view(passes_of(model, config=replace(scoring, num_workers=0)), data)
    logits = predict(model, view, torch.arange(90), config=scoring)
    torch.testing.assert_close(logits, predict(model, data, torch.arange(90)), rtol=1e-4, atol=1e-5)
