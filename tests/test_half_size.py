"""Rounds up to training.half_size_until labels read images of half the size, in every pass and in training."""

from dataclasses import replace

import pytest
import torch
from helpers.own_modules import OwnModule, dense
from helpers.toy_masks import TinyNet, toy_mask_data
from torch import nn

from dal import ActiveLearner, run
from dal.acquisition import BALD, Margin, margin_scores
from dal.errors import DalError
from dal.labeling.oracle import DatasetOracle
from dal.models import Classifier, adapt
from dal.models.backbones import SmallCNN, build_backbone
from dal.models.config import ModelConfig
from dal.runs.records import Records
from dal.scoring.candidates import starting_features
from dal.scoring.config import ScoringConfig
from dal.stopping import CampaignConfig
from dal.training import TrainingConfig
from dal.training.final_model import finish_final_model

QUICK = TrainingConfig(batch_size=10, min_updates=2, max_updates=2, monitor="none", half_size_until=20)


def buy(learner, count):
    query = learner.ask(count)
    learner.tell(query, learner.data.labels[list(query)].tolist())


@pytest.fixture
def started(data, new_model):
    """A learner that was trained on 20 labels, and the sizes of the images that its network reads from then on."""
    learner, sizes = ActiveLearner(new_model, data, Margin(), training=QUICK), []
    learner.model.module.backbone.register_forward_pre_hook(lambda _, x: sizes.append(x[0].shape[-1]))
    buy(learner, 20)
    learner.fit()
    return learner, sizes


def test_weights_and_images_change_their_size_together(started, test_data):
    learner, sizes = started

    def read():
        found, sizes[:] = set(sizes), []
        return found

    assert read() == {4}
    buy(learner, 10)
    learner.evaluate(test_data)
    learner.follow(torch.arange(5))
    learner.rank(3, test_data)
    assert read() == {4}, "the weights are still those of the round before"
    learner.fit()
    learner.ask(5)
    learner.evaluate(test_data)
    assert read() == {8}


def per_image(size):
    """Multiply-adds of both convolutions on images of this size, and of the two linear layers."""
    return 9 * 16 * size**2, 9 * 16 * 32 * (size // 2) ** 2, 128 * 128 + 128 * 3


def test_the_ledger_counts_both_sizes(started):
    learner, _ = started
    for size in (4, 8):
        first, second, linear = per_image(size)
        trained = learner.ledger.row()
        assert trained["flops_forward_train"] == 20 * 2 * (first + second + linear)
        assert trained["flops_backward_train"] == 20 * 2 * (first + 2 * second + 2 * linear)
        learner.ledger = type(learner.ledger)()
        buy(learner, 10)
        once_more = 128 * 3  # the head runs on the features of its own pass
        scored = 70 if size == 4 else 60
        assert learner.ledger.row()["flops_forward_score"] == scored * 2 * (first + second + linear + once_more)
        learner.ledger = type(learner.ledger)()
        learner.fit()


def test_selections_do_not_depend_on_how_small_images_are_read(data, new_model):
    def chosen(**settings):
        learner = ActiveLearner(new_model, data, BALD(num_draws=3), training=QUICK, scoring=ScoringConfig(**settings))
        buy(learner, 20)
        learner.fit()
        return learner.ask(15)

    expected = chosen()
    for settings in ({"batch_size": 7}, {"tile_size": 3}, {"num_workers": 1}):
        assert chosen(**settings).indices == expected.indices


def test_a_campaign_that_ends_with_small_images_ranks_and_goes_on_with_them(data, test_data, new_model):
    def learner():
        return ActiveLearner(new_model, data, Margin(), training=replace(QUICK, half_size_until=30))

    records, first = Records(), learner()
    run(first, DatasetOracle(data), CampaignConfig(initial_size=10, query_size=10, budget=30), records=records)
    again = learner()
    again.restore(records)
    for pool in (None, test_data):
        assert again.rank(data=pool).scores == first.rank(data=pool).scores
    module, half = first.model.module.eval(), test_data.at_half_size.plain(range(60))
    ranked = again.rank(data=test_data)
    expected = margin_scores(module(half).detach())[list(ranked.indices)]
    torch.testing.assert_close(torch.tensor(ranked.scores, dtype=torch.float64), expected, rtol=0, atol=1e-5)


def test_the_final_model_and_the_first_features_are_those_of_whole_images(started, data, tmp_path):
    learner, _ = started
    labeled = (learner.pool.labeled, learner.pool.labels(learner.pool.labeled))
    config = ModelConfig(final_backbone="small_cnn")
    row = finish_final_model(tmp_path, config, learner.setup, data, labeled)
    assert row["flops_forward_train"] == 20 * 2 * sum(per_image(8))
    assert learner.passes.half_size
    whole = replace(learner.passes, half_size=False)
    features = [starting_features(passes, learner._first_state, data) for passes in (learner.passes, whole)]
    assert torch.equal(*features)


def test_the_maps_of_small_images_are_enlarged():
    backbone = SmallCNN(1, (28, 20)).eval()
    x = torch.rand(2, 1, 14, 10)
    maps = backbone.layers[:6](x)
    assert maps.shape[2:] == (3, 2)
    rows, columns = torch.tensor([0, 0, 1, 1, 1, 2, 2]), torch.tensor([0, 0, 1, 1, 1])
    expected = backbone.layers[8:](maps[:, :, rows][..., columns].flatten(1))
    assert torch.equal(backbone(x), expected)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        backbone(torch.rand(2, 1, 16, 10))


def pooled():
    torch.manual_seed(0)
    return OwnModule(nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)))


REFUSED = {
    "a network of one size": (
        lambda: adapt(OwnModule(dense()), head="net.4"),
        None,
        r"for a network that cannot take images of half the size, 4x4 \(mat1 and mat2 shapes",
    ),
    "resized images": (
        lambda: Classifier(build_backbone("small_cnn", (1, 8, 8), input_size=8), 3),
        None,
        r"for a network whose work does not depend on the size, as with model\.input_size",
    ),
    "a frozen backbone": (
        lambda: Classifier(SmallCNN(1, (8, 8)), 3, freeze_backbone=True),
        None,
        r"with model\.freeze_backbone=true, whose features are computed once",
    ),
    "masks": (
        lambda: adapt(TinyNet(), head="head", task="segmentation"),
        toy_mask_data(),
        "with segmentation data, whose masks have the size of the images",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_read_small_images_is_refused_before_a_label(name, data):
    model, given, message = REFUSED[name]
    with pytest.raises(DalError, match=rf"^training\.half_size_until: expected 0 {message}.*, got 20\.$"):
        ActiveLearner(model(), given or data, Margin(), training=QUICK)


def test_a_module_that_pools_reads_small_images(data):
    learner, sizes = ActiveLearner(adapt(pooled(), head="net.3"), data, Margin(), training=QUICK), []
    learner.model.module.net.register_forward_pre_hook(lambda _, x: sizes.append(x[0].shape[-1]))
    for size in (4, 8):
        buy(learner, 20)
        sizes.clear()
        learner.fit()
        assert set(sizes) == {size}
