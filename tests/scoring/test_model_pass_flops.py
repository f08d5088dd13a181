"""FLOPs against counts by hand: places x filters x numbers a filter, 2 a multiply-add, layer by layer."""

from dataclasses import dataclass

import pytest
import torch
from helpers.passes import Charged as Charge
from helpers.passes import choose, pool_pass, predict, summarize_points
from torch import nn
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack as modes

from dal.acquisition import BALD, ALFAMix, CoreSet, Margin, Random
from dal.acquisition.base import ScoreFunction
from dal.costs.flops import FlopCounter
from dal.costs.ledger import Ledger
from dal.models.adapt import adapt, as_adapted
from dal.models.classifier import Classifier
from dal.models.config import ModelConfig
from dal.scoring.config import ScoringConfig

CLASSES = 3

# A ResNet-18 behind its stem, for 64 channels of 8 x 8 places: layer, places, filters, numbers a filter.
RESNET_BODY = [
    *[(8 * 8, 64, 9 * 64)] * 4,
    (4 * 4, 128, 9 * 64),
    *[(4 * 4, 128, 9 * 128)] * 3,
    (4 * 4, 128, 64),  # of the skip connection
    (2 * 2, 256, 9 * 128),
    *[(2 * 2, 256, 9 * 256)] * 3,
    (2 * 2, 256, 128),
    (1, 512, 9 * 256),
    *[(1, 512, 9 * 512)] * 3,
    (1, 512, 256),
]
HEAD = 2 * 512 * CLASSES


@dataclass
class Counted:
    """An image of a network by hand: its first layer, what else runs once, and what runs for every draw."""

    image: tuple[int, int, int]
    first: int
    trunk: int
    draws: int

    @property
    def forward(self):
        return self.first + self.trunk + self.draws

    @property
    def backward(self):
        """Each layer has the gradients of its input and of its weight, but for the first, whose input wants none."""
        return self.first + 2 * self.trunk + 2 * self.draws


BY_HAND = {
    "small_cnn": Counted(
        (1, 8, 8),
        first=2 * (8 * 8) * 16 * 9,
        trunk=2 * (4 * 4) * 32 * (9 * 16),
        draws=2 * (2 * 2 * 32) * 128 + 2 * 128 * CLASSES,
    ),
    "resnet18_cifar": Counted(
        (3, 8, 8),
        first=2 * (8 * 8) * 64 * (9 * 3),
        trunk=sum(2 * places * filters * numbers for places, filters, numbers in RESNET_BODY),
        draws=HEAD,
    ),
    "torchvision/resnet18": Counted(
        (3, 32, 32),
        first=2 * (16 * 16) * 64 * (49 * 3),
        trunk=sum(2 * places * filters * numbers for places, filters, numbers in RESNET_BODY),
        draws=HEAD,
    ),
}
networks = pytest.mark.parametrize("name", BY_HAND)


def network(name):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ModelConfig(backbone=name).build(BY_HAND[name].image, CLASSES)


def images_for(shared, name, count=11):
    channels, size, _ = BY_HAND[name].image
    return shared.make_images(count, channels=channels, size=size, classes=CLASSES)


@networks
def test_training_is_what_a_hand_counts(name):
    module, expected = network(name), BY_HAND[name]
    x, y = torch.rand(5, *expected.image), torch.tensor([0, 1, 2, 0, 1])
    with FlopCounter() as counter:
        nn.functional.cross_entropy(module(x), y).backward()
    assert counter.flops == (5 * expected.forward, 5 * expected.backward, 0)


@networks
def test_a_test_pass_is_what_a_hand_counts(name, shared):
    ledger = Ledger()
    predict(as_adapted(network(name)), images_for(shared, name), torch.arange(11), ledger=ledger)
    row = ledger.row()
    assert (row["samples_forward_test"], row["flops_forward_test"]) == (11, 11 * BY_HAND[name].forward)
    assert sum(v for k, v in row.items() if k.startswith("flops")) == row["flops_forward_test"]


@pytest.mark.parametrize("phase", ["validate", "stop"])
def test_predictions_are_charged_to_the_phase_that_asks(phase, shared):
    ledger = Ledger()
    model, data = as_adapted(network("small_cnn")), images_for(shared, "small_cnn")
    predict(model, data, torch.arange(6), phase=phase, ledger=ledger)
    found = {k: v for k, v in ledger.row().items() if v and k.startswith(("samples", "flops"))}
    assert found == {f"samples_forward_{phase}": 6, f"flops_forward_{phase}": 6 * BY_HAND["small_cnn"].forward}


@networks
@pytest.mark.parametrize("num_draws", [1, 7])
def test_bald_runs_the_trunk_once_and_what_is_behind_dropout_for_every_draw(name, num_draws, shared):
    ledger, expected = Ledger(), BY_HAND[name]
    data, acquisition = images_for(shared, name), FirstDraw() if num_draws == 1 else BALD(num_draws)
    summarize_points(as_adapted(network(name)), acquisition, data, torch.arange(11), ledger=ledger)
    row = ledger.row()
    assert row["flops_forward_score"] == 11 * (expected.first + expected.trunk + num_draws * expected.draws)
    assert row["flops_draws_score"] == 11 * num_draws * expected.draws


@dataclass(frozen=True)
class FirstDraw(ScoreFunction):
    def score(self, model, x):
        return model.mc_log_probs(x, 1)[:, 0, 0]


def wide_input():
    """A network whose skip connection goes round the first dropout, so that its input must be widened."""

    class Skipping(Classifier):
        def forward(self, x):
            x = x.flatten(1)
            return self.head(x + self.dropout(x))

    module = network("small_cnn")
    module.__class__ = Skipping
    module.head = nn.Linear(64, CLASSES)
    return adapt(module, "head")


def test_all_is_draws_where_the_input_is_widened(shared):
    ledger = Ledger()
    summarize_points(wide_input(), BALD(5), images_for(shared, "small_cnn"), torch.arange(11), ledger=ledger)
    assert ledger.row()["flops_forward_score"] == ledger.row()["flops_draws_score"] == 11 * 5 * 2 * 64 * CLASSES


def test_margin_and_core_set_run_a_plain_pass_over_candidates_and_labeled(shared):
    data, model = images_for(shared, "small_cnn", 40), as_adapted(network("small_cnn"))
    every, few = torch.arange(10, 40), torch.arange(10)
    plain, head = BY_HAND["small_cnn"].forward, 2 * 128 * CLASSES
    # Margin asks for features and then for their logits, which runs the head twice.
    for acquisition, labeled, count, each in (
        (Margin(), few[:0], 30, plain + head),
        (CoreSet(), few, 40, plain),
        (Random(), few[:0], 0, 0),
    ):
        ledger = Ledger()
        choose(model, acquisition, (data, every), (data, labeled), 3, ledger=ledger)
        row = ledger.row()
        assert (row["samples_forward_score"], row["flops_forward_score"]) == (count, count * each)
        assert row["flops_draws_score"] == 0


def test_alfa_mix_takes_a_few_products_for_all_mixes_of_a_linear_head(shared):
    data, model = images_for(shared, "small_cnn", 40), as_adapted(network("small_cnn"))
    every, plain, head = torch.arange(10, 40), BY_HAND["small_cnn"].forward, 2 * 128 * CLASSES
    # Not so many anchors as before are not charged as before.
    for labels in ([0, 1, 1, 0], [2, 2, -2, 2], [0, 2, 1, 0]):
        ledger, few = Ledger(), torch.arange(4)
        anchors = len(set(labels) - {-2})
        choose(model, ALFAMix(), (data, every), (data, few), 3, labels=torch.tensor(labels), ledger=ledger)
        row = ledger.row()
        assert row["samples_forward_score"] == 34
        # The logits in both precisions, the directions, the products of the errors with those of the weights, and the
        # distances to the anchors. Zeros take a part of one more product for each anchor.
        least = 4 * plain + 30 * (plain + 3 * head + 2 * CLASSES**2 + 2 * 128 * anchors)
        assert least <= row["flops_forward_score"] <= least + 30 * anchors * head
        assert row.get("flops_backward_score", 0) == 0


@pytest.mark.parametrize(
    "config",
    [
        ScoringConfig(batch_size=3),
        ScoringConfig(tile_size=1),
        ScoringConfig(tile_size=64),
        ScoringConfig(num_workers=1),
        ScoringConfig(channels_last=False),
        ScoringConfig(channels_last=True),
        ScoringConfig(precision="bf16"),
    ],
    ids=str,
)
def test_no_setting_of_the_pass_changes_the_count(config, shared):
    expected = BY_HAND["small_cnn"]
    # A network of its own, as what was counted once is not counted again.
    ledger = Ledger()
    model, data = as_adapted(network("small_cnn")), images_for(shared, "small_cnn")
    for _ in range(2):
        summarize_points(model, BALD(4), data, torch.arange(11), config=config, ledger=ledger)
    assert ledger.row()["flops_forward_score"] == 2 * 11 * (expected.first + expected.trunk + 4 * expected.draws)


def test_a_compiled_pass_is_counted_as_it_is_written(shared, monkeypatch):
    calls = []

    class Compiled:
        def __init__(self, size):
            self.size = size

        def __call__(self, name, run, x):
            calls.append(len(x))
            return run(x.detach())

    monkeypatch.setattr("dal.scoring.model_pass.CompiledPasses", Compiled)
    ledger = Ledger()
    config = ScoringConfig(compile=True, tile_size=11)
    predict(
        as_adapted(network("small_cnn")),
        images_for(shared, "small_cnn"),
        torch.arange(11),
        config=config,
        ledger=ledger,
    )
    assert calls == [11]
    assert ledger.row()["flops_forward_test"] == 11 * BY_HAND["small_cnn"].forward


def test_a_count_is_made_once_for_each_thing_that_is_asked_for(shared):
    model, data, ledger = as_adapted(network("small_cnn")), images_for(shared, "small_cnn"), Ledger()
    batches = []

    def reduce(view, x):
        batches.append(len(x))
        return (view.logits(x),)

    def read(what, charge=True):
        batches.clear()
        config = ScoringConfig(tile_size=16)
        pool_pass(model, data, torch.arange(11), reduce, config=config, charge=Charge(ledger, what) if charge else None)
        return list(batches)

    assert read("logits", charge=False) == [16]
    assert read("logits") == [4, 4, 16]
    assert read("logits") == [16]
    assert read("others") == [4, 4, 16]
    assert ledger.row()["samples_forward_score"] == 33


def test_counting_changes_no_score_and_no_random_number(shared):
    results = []
    for ledger in (Ledger(), None):
        model, data = as_adapted(network("small_cnn")), images_for(shared, "small_cnn", 40)
        torch.manual_seed(3)
        before = shared.module_state(model.module)
        (scores,) = summarize_points(
            model, BALD(6), data, torch.arange(40), config=ScoringConfig(tile_size=8), ledger=ledger
        )
        assert shared.module_state(model.module) == before
        results.append((scores.tolist(), shared.rng_states()))
    assert results[0] == results[1]


def test_a_network_that_draws_random_numbers_draws_the_same(shared):
    found = []
    for ledger in (Ledger(), None):
        (noise,) = pool_pass(
            as_adapted(network("small_cnn")),
            images_for(shared, "small_cnn"),
            torch.arange(11),
            lambda view, x: (torch.rand(len(x), 1),),
            config=ScoringConfig(tile_size=8),
            charge=None if ledger is None else Charge(ledger, "noise"),
        )
        found.append(noise.tolist())
    assert found[0] == found[1]


def test_a_pass_that_fails_is_charged_nothing(shared):
    ledger = Ledger()
    with pytest.raises(ValueError, match="nothing works"):
        pool_pass(
            as_adapted(network("small_cnn")),
            images_for(shared, "small_cnn"),
            torch.arange(11),
            lambda view, x: (_ for _ in ()).throw(ValueError("nothing works")),
            charge=Charge(ledger, "logits"),
        )
    assert not any(v for k, v in ledger.row().items() if k.startswith(("samples", "flops")))
    assert modes() == []
