import warnings
from dataclasses import dataclass

import pytest
import pytorch_lightning as pl
import torch
from helpers.passes import pool_pass, summarize_points
from torch import nn

from dal.acquisition import BALD, Margin
from dal.acquisition.random import Random
from dal.data.images import TensorSource
from dal.errors import DalError, NonFiniteError
from dal.models.adapt import adapt, as_adapted
from dal.models.backbones import build_backbone
from dal.models.classifier import Classifier
from dal.scoring.config import ScoringConfig


@pytest.fixture(scope="module")
def model():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return as_adapted(Classifier(build_backbone("small_cnn", (1, 8, 8)), 3))


@pytest.fixture(scope="module")
def data(shared):
    return shared.make_images(300)


def keep_all(view, x):
    features = view.features(x)
    return features, view.head(features), view.mc_log_probs(x, 3)


def equal(ours, theirs):
    return len(ours) == len(theirs) and all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize(("batch_size", "num_workers"), [(1, 0), (7, 0), (512, 0), (128, 0), (7, 2), (512, 2)])
def test_results_are_bit_equal_for_all_loaders(model, data, batch_size, num_workers):
    indices = torch.randperm(300, generator=torch.Generator().manual_seed(0))[:150]
    expected = pool_pass(model, data, indices, keep_all, seed=4, config=ScoringConfig(tile_size=32))
    config = ScoringConfig(batch_size=batch_size, num_workers=num_workers, tile_size=32)
    assert equal(pool_pass(model, data, indices, keep_all, seed=4, config=config), expected)


def test_rows_are_in_the_order_of_the_indices(model, data):
    indices = torch.tensor([5, 299, 0, 17])
    (seen,) = pool_pass(model, data, indices, lambda view, x: (x,), config=ScoringConfig(batch_size=3))
    assert torch.equal(seen, data.plain([5, 299, 0, 17]))


def test_a_point_has_the_same_result_in_a_smaller_pool(model, data):
    everything = pool_pass(model, data, torch.arange(300), keep_all, config=ScoringConfig(tile_size=64))
    for part in (torch.arange(40, 41), torch.arange(7, 300, 3), torch.arange(299, -1, -1)):
        alone = pool_pass(model, data, part, keep_all, config=ScoringConfig(tile_size=64))
        assert equal(alone, tuple(kept[part] for kept in everything))


def test_tile_size_changes_a_result_by_rounding_only(model, data):
    indices = torch.arange(50)
    results = [pool_pass(model, data, indices, keep_all, config=ScoringConfig(tile_size=t)) for t in (1, 7, 128)]
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], rtol=1e-4, atol=1e-5)


def test_masks_follow_the_seed(model, data):
    draws = [
        pool_pass(model, data, torch.arange(9), lambda view, x: (view.mc_log_probs(x, 3),), seed=s)[0]
        for s in (0, 0, 1)
    ]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_the_plain_view_is_scored(shared, model):
    def augmentation(images, generator):
        raise AssertionError("augmented while scoring")

    data = shared.make_images(10, augmentation=augmentation)
    (seen,) = pool_pass(model, data, torch.arange(10), lambda view, x: (x,))
    assert torch.equal(seen, data.plain(range(10)))


class Messy(pl.LightningModule):
    """BatchNorm, dropout, and parts that are in train and in eval mode."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout2d(0.25), nn.Flatten(), nn.Linear(144, 6)
        )
        self.norm, self.drop, self.head = nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 3)
        self.body[0].weight.requires_grad_(False)

    def forward(self, x):
        return self.head(self.drop(self.norm(self.body(x))))

    def training_step(self, batch, batch_idx):
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def messy():
    module = Messy().train()
    module.body[1].eval()
    module.drop.eval()
    module.body[3].p = 0.3
    return module


class Failure(Exception):
    pass


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("fails", ["no", "at once", "after a pass", "inside the network", "not finite"])
def test_scoring_leaves_the_model_and_the_global_generators_alone(data, shared, fails, num_workers, monkeypatch):
    """Statistics of BatchNorm, train and eval flags, dropout settings, hooks, gradients, every generator."""
    module = messy()
    before, random_before = shared.module_state(module), shared.rng_states()

    def summarize(view, x):
        if fails == "at once":
            raise Failure
        torch.rand(3)
        view.features(x)
        if fails == "inside the network":
            monkeypatch.setattr(view.module.head, "forward", stop)
        out = view.mc_log_probs(x, 4)
        assert not module.norm.training
        assert not out.requires_grad
        if fails == "after a pass":
            raise Failure
        return (out * float("nan"),) if fails == "not finite" else (out,)

    def stop(x):
        raise Failure

    config = ScoringConfig(batch_size=40, tile_size=16, num_workers=num_workers)

    def score():
        return pool_pass(adapt(module, "head"), data, torch.arange(100), summarize, config=config)

    if fails == "no":
        assert score()[0].shape == (100, 4, 3)
    else:
        with pytest.raises(NonFiniteError if fails == "not finite" else Failure):
            score()
    monkeypatch.undo()
    assert shared.module_state(module) == before
    assert shared.rng_states() == random_before
    # Still a module that trains: nothing became an inference tensor.
    module.training_step((torch.randn(4, 1, 8, 8), torch.tensor([0, 1, 2, 0])), 0).backward()


@dataclass(frozen=True)
class Infinite(Margin):
    def score(self, model, x):
        scores = super().score(model, x)
        return torch.where(x.flatten(1)[:, 0] > 500, torch.inf, scores)


class Marked(TensorSource):
    """Image 37 is bright beyond all others."""

    def batch(self, indices):
        images = super().batch(indices).float()
        for place, index in enumerate(indices):
            if index in (37, 38):
                images[place] = float(self.value)
        return images


@pytest.fixture
def marked(shared):
    def make(value):
        data = shared.make_images(60)
        source = Marked(data.source.images)
        source.value = value
        return shared.make_images(60, source=source)

    return make


MESSAGE = "model: expected finite logits and features, got NaN or infinity for 'image-037' (index 37)."


@pytest.mark.parametrize("tile_size", [1, 4, 16, 128])
@pytest.mark.parametrize("acquisition", [Margin(), BALD(3)], ids=["margin", "bald"])
def test_nan_logits_name_the_image_when_the_function_refuses_them(model, marked, acquisition, tile_size):
    indices = torch.tensor([*range(40, 60), 37, *range(30, 37)])
    config = ScoringConfig(batch_size=6, tile_size=tile_size)
    with pytest.raises(NonFiniteError) as error:
        summarize_points(model, acquisition, marked("nan"), indices, config=config)
    assert str(error.value) == MESSAGE


def test_nan_logits_name_the_image_when_it_is_the_first_that_the_dropout_draws_see(model, marked):
    with pytest.raises(NonFiniteError) as error:
        summarize_points(model, BALD(3), marked("nan"), torch.tensor([37, 1, 2]))
    assert str(error.value) == MESSAGE


def test_infinity_in_a_summary_names_the_image(model, marked):
    indices = torch.arange(59, -1, -1)
    with pytest.raises(NonFiniteError) as error:
        summarize_points(model, Infinite(), marked(1000), indices, config=ScoringConfig(tile_size=16))
    image = "'image-038' (index 38), whose logits and features are finite."
    assert str(error.value) == f"Infinite.score(): expected finite numbers, got NaN or infinity for {image}"


def test_a_function_that_needs_no_pass_reads_nothing(model, shared):
    class Unreadable(TensorSource):
        def batch(self, indices):
            raise AssertionError("read")

    data = shared.make_images(12, source=Unreadable(torch.zeros(12, 1, 8, 8, dtype=torch.uint8)))
    (rows,) = summarize_points(model, Random(), data, torch.arange(10))
    assert rows.shape == (10, 0)
    (rows,) = summarize_points(model, Margin(), data, torch.arange(0))
    assert len(rows) == 0


def test_progress_counts_images_to_the_end(model, data):
    seen = []
    config = ScoringConfig(batch_size=30, tile_size=16)
    report = lambda *event: seen.append(event)  # noqa: E731
    pool_pass(model, data, torch.arange(50), keep_all, config=config, on_progress=report, phase="test")
    assert seen == [("test", 16, 50), ("test", 32, 50), ("test", 48, 50), ("test", 50, 50)]


@pytest.mark.parametrize("precision", ["bf16", "16"])
def test_half_precision_is_near_and_comes_back_as_float32(model, data, precision):
    full, half = (
        pool_pass(model, data, torch.arange(20), keep_all, config=ScoringConfig(tile_size=16, precision=p))
        for p in ("32", precision)
    )
    assert half[1].dtype == half[2].dtype == torch.float32
    assert not torch.equal(half[1], full[1])
    torch.testing.assert_close(half[1], full[1], rtol=0.05, atol=0.05)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "scoring.batch_size: expected at least 1, got 0."),
        ({"tile_size": 10**8}, "scoring.tile_size: expected at most 65536, or null, got 100000000."),
        ({"tile_size": 0}, "scoring.tile_size: expected at least 1, or null, got 0."),
        ({"num_workers": -1}, "scoring.num_workers: expected at least 0, got -1."),
        ({"precision": "8"}, "scoring.precision: expected one of 32, tf32, bf16, 16, got '8'."),
    ],
)
def test_config_is_checked(changes, message):
    with pytest.raises(DalError) as error:
        ScoringConfig(**changes)
    assert str(error.value) == message


def test_scoring_says_nothing(model, data):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pool_pass(model, data, torch.arange(20), keep_all)
