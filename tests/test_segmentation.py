"""Campaigns that buy regions of images."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from helpers.toy_masks import TinyNet, mask_learner, quick, toy_mask_data, toy_scenes

from dal import run
from dal.acquisition import BADGE, BALD, CoreSet, Entropy, Margin, Random
from dal.acquisition.stochastic import Stochastic
from dal.data.masks import TensorMasks
from dal.errors import DalError
from dal.labeling.oracle import DatasetOracle, NoisyOracle
from dal.labeling.people.oracle import People
from dal.models.adapt import AdaptedModel, adapt
from dal.runs.diagnosis import DiagnosisConfig
from dal.runs.folder import RunFolder
from dal.scoring.candidates import NeighborCandidates, StaleCandidates
from dal.scoring.dense.pooling import Pooling
from dal.stopping import CampaignConfig

SMALL = {"initial_size": 8, "query_size": 6, "budget": 20, "stop_set_size": 10}


def answered(learner, count):
    query = learner.ask(count)
    learner.tell(query, DatasetOracle(learner.data)(query))
    learner.fit()
    return query


@pytest.mark.parametrize(
    "acquisition, pool",
    [
        (Margin(), "top_k"),
        (BALD(3), "max"),
        (CoreSet(), "mean"),
        (Stochastic(), "sum"),
    ],
)
def test_regions_are_asked_told_trained_and_tested(acquisition, pool):
    learner = mask_learner(acquisition, pooling=Pooling(pool))
    asked = [answered(learner, 6), answered(learner, 6)]
    points = [*asked[0], *asked[1]]
    assert len(set(points)) == 12 and learner.pool.num_unlabeled == 96 - 12
    assert asked[1].ids[0] == learner.data.point_ids[asked[1][0]] and "#r" in asked[1].ids[0]
    metrics = learner.evaluate(toy_mask_data(6, seed=9))
    assert 0 < metrics.miou < 1 and sum(map(sum, metrics.confusion_matrix)) == 6 * 64


def test_a_rank_of_other_images_names_their_regions():
    learner = mask_learner(Entropy())
    answered(learner, 6)
    ranking = learner.rank(top=3, data=toy_mask_data(2, seed=4, region_size=4))
    assert len(ranking) == 3 and set(ranking) <= set(range(8)) and ranking.scores[0] >= ranking.scores[2]


@pytest.mark.parametrize("candidates", [StaleCandidates(20), NeighborCandidates(num_neighbors=5)])
def test_candidates_are_regions(candidates):
    learner = mask_learner(Entropy(), candidates=candidates)
    assert len({*answered(learner, 6), *answered(learner, 6), *answered(learner, 6)}) == 18


class Kill(Exception):
    """The end of a process."""


def campaign(records=None, kill=None, pool="max", **changes):
    learner = mask_learner(BALD(3), training=quick(updates_per_label=0.5), pooling=Pooling(pool))
    seen = []

    def progress(phase, done, total):
        seen.append(phase)
        if kill is not None and seen.count(kill[0]) == kill[1]:
            raise Kill

    learner.on_progress = learner.passes.on_progress = progress
    config = CampaignConfig(**SMALL | {"validation_size": 4, "budget": 18} | changes)
    try:
        return learner, run(
            learner, DatasetOracle(learner.data), config, test=toy_mask_data(6, seed=9), records=records
        )
    finally:
        if isinstance(records, RunFolder):
            records.close()


def counted(rows):
    return [{k: v for k, v in row.items() if not k.startswith(("seconds", "peak", "joules"))} for row in rows]


def test_a_campaign_that_is_killed_and_resumed_equals_one_that_is_not(tmp_path):
    learner, expected = campaign()
    fingerprint = learner.data.fingerprint()
    for kill in (("test", 1), ("score", 1), ("train", 3)):
        with pytest.raises(Kill):
            campaign(RunFolder(tmp_path, {}, fingerprint), kill)
    with pytest.raises(DalError, match="pool"):
        campaign(RunFolder(tmp_path, {}, fingerprint), pool="mean")
    resumed, rows = campaign(RunFolder(tmp_path, {}, fingerprint))
    assert counted(rows) == counted(expected) and len(rows) == 2
    assert resumed.pool.labeled.tolist() == learner.pool.labeled.tolist()
    for one, other in zip(learner.model.module.parameters(), resumed.model.module.parameters(), strict=True):
        assert torch.equal(one, other)
    selections = (tmp_path / "selections.csv").read_text()
    assert "scene-" in selections and "#r" in selections


def test_rules_of_the_stop_set_follow_pixels():
    learner = mask_learner(Random())
    rows = run(learner, DatasetOracle(learner.data), CampaignConfig(**SMALL, max_change=1.0))
    assert rows[-1]["campaign_stopped"] == "classification_change" and len(rows) == 2
    assert len(rows[0]["stop_predictions"]) == 10 * 16 and 0 < rows[0]["stop_uncertainty"] <= 1


def test_nothing_is_recorded_for_diagnosis(tmp_path):
    learner = mask_learner(Random())
    records = RunFolder(tmp_path, {}, learner.data.fingerprint())
    run(
        learner,
        DatasetOracle(learner.data),
        CampaignConfig(**SMALL, max_rounds=1),
        records=records,
        diagnosis=DiagnosisConfig(),
    )
    records.close()
    assert not list(tmp_path.rglob("*dynamics*"))


def test_a_test_set_bought_from_the_pool_has_regions_too():
    learner = mask_learner(Random())
    rows = run(
        learner, DatasetOracle(learner.data), CampaignConfig(**SMALL | {"test_size": 5, "budget": 30}, max_rounds=1)
    )
    assert sum(map(sum, rows[0]["test_confusion_matrix"])) == 5 * 16 and rows[0]["num_test"] == 5


def test_images_without_a_mask_are_never_asked():
    labels = torch.zeros(24, dtype=torch.int64)
    labels[5:] = -1
    learner = mask_learner(Random(), toy_mask_data(labels=labels, region_size=4))
    config = CampaignConfig(initial_size=8, query_size=12, budget=20, stop_set_size=0)
    run(learner, DatasetOracle(learner.data), config)
    assert sorted(learner.pool.labeled.tolist()) == list(range(20))
    with pytest.raises(DalError, match=r"oracle: expected a point with a known label, got 'scene-05#r0,c1'"):
        DatasetOracle(learner.data)([21])
    for tell in (learner.tell, learner.tell_validation, learner.tell_test):
        with pytest.raises(
            DalError, match=r"^indices: expected points of images with a mask .*'scene-05#r0,c1', which"
        ):
            tell([21], [0])


@pytest.mark.parametrize(
    "make, match",
    [
        (lambda: mask_learner(BADGE()), r"^acquisition: expected a function whose scores or features of pixels"),
        (lambda: NoisyOracle(toy_mask_data(), 0.1), r"^oracle.noise: expected 0 with segmentation data"),
        (lambda: People(toy_mask_data(), "nowhere"), r"^oracle: expected dataset, or people with data="),
        (lambda: mask_learner(BALD(3), model=lambda: _model(dropout=0.0)), r"^model: expected a dropout layer"),
        (lambda: mask_learner(model=lambda: _model(head="body")), r"^head: expected a convolution with a kernel of 1"),
    ],
)
def test_what_does_not_fit_is_refused_before_a_label_is_bought(make, match):
    with pytest.raises(DalError, match=match):
        make()


class OwnLoss(TinyNet):
    """PyTorch's loss, which is NaN for a batch of ignored pixels."""

    def training_step(self, batch, batch_idx):
        return F.cross_entropy(self(batch[0]), batch[1], ignore_index=255)


@pytest.mark.parametrize("region_size", [4, None])
def test_a_loss_of_ones_own_never_sees_a_batch_of_ignored_pixels(region_size):
    _, masks = toy_scenes(24)
    masks[::2] = 255
    masks[1::2, :4] = 255
    data = toy_mask_data(region_size=region_size, masks=TensorMasks(masks))
    model = partial(adapt, head="head", task="segmentation")
    learner = mask_learner(Random(), data, lambda: model(OwnLoss()), training=quick(batch_size=2))
    config = CampaignConfig(**SMALL | {"validation_size": 6, "budget": 24, "stop_set_size": 0})
    rows = run(learner, DatasetOracle(data), config, test=toy_mask_data(4, seed=9))
    assert len(rows) == 3 and rows[-1]["labels_bought"] == 24
    trained = learner.trainable()[0]
    assert len(trained) < 18 and set((trained // data.units_per_image % 2).tolist()) == {1}


class NoIgnore(TinyNet):
    def training_step(self, batch, batch_idx):
        return F.cross_entropy(self(batch[0]), batch[1])


class NaNWithIgnored(TinyNet):
    def training_step(self, batch, batch_idx):
        known = F.one_hot(batch[1].clamp(max=3), 4)[..., :3].sum(dim=-1)
        return (F.cross_entropy(self(batch[0]), batch[1].clamp(max=2), reduction="none") / known).mean()


@pytest.mark.parametrize(
    ("net", "got"),
    [(NoIgnore, r"IndexError: Target 255 is out of bounds\."), (NaNWithIgnored, r"a loss of inf\.")],
)
def test_a_loss_that_does_not_leave_out_ignored_pixels_is_refused_for_regions(net, got):
    model = partial(adapt, head="head", task="segmentation")
    with pytest.raises(
        DalError, match=rf"^training_step: expected a loss that leaves out pixels of 255, .*, got {got}"
    ):
        mask_learner(Random(), model=lambda: model(net()))
    _, masks = toy_scenes(24)
    masks[5, 0, 0] = 255
    with pytest.raises(
        DalError, match=rf"^training_step: expected a loss that leaves out pixels of 255, .*, got {got}"
    ):
        mask_learner(Random(), toy_mask_data(masks=TensorMasks(masks)), lambda: model(net()))
    # Whole images need not have ignored pixels.
    learner = mask_learner(Random(), toy_mask_data(), lambda: model(net()))
    assert len(answered(learner, 6)) == 6


@pytest.mark.parametrize(
    "changes", [{"labels": torch.full((4,), -1)}, {"masks": TensorMasks(torch.full((4, 8, 8), 255, dtype=torch.uint8))}]
)
def test_a_test_set_without_a_pixel_of_a_class_is_refused_before_a_label_is_bought(changes):
    learner = mask_learner(Random())
    with pytest.raises(DalError, match=r"^test: expected masks with pixels that are not ignored, got none\.$"):
        run(learner, DatasetOracle(learner.data), CampaignConfig(**SMALL), test=toy_mask_data(4, seed=9, **changes))
    assert not learner.pool.num_labeled


def test_labels_without_a_pixel_of_a_class_are_refused():
    data = toy_mask_data(region_size=4, masks=TensorMasks(torch.full((24, 8, 8), 255, dtype=torch.uint8)))
    learner = mask_learner(Random(), data)
    with pytest.raises(DalError, match=r"^fit: expected masks with pixels that are not ignored, got 6 units without"):
        answered(learner, 6)


def _model(head="head", **options):
    return AdaptedModel(TinyNet(**options), head, task="segmentation")


def test_metrics_of_ones_own_see_pixels_that_are_not_ignored():
    from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex

    own = {"micro": MulticlassAccuracy(3, average="micro"), "jaccard": MulticlassJaccardIndex(3, average="none")}
    learner = mask_learner(Random(), metrics=own)
    answered(learner, 12)
    data = toy_mask_data(6, seed=9)
    data.masks.masks[:, 0] = 255
    found = learner.evaluate(data)
    assert found.micro == pytest.approx(found.pixel_accuracy) and found.jaccard == pytest.approx(found.iou, abs=1e-6)
