"""warm_start=auto: both starts are tried now and then, and what validated better goes on."""

import copy
import math
from importlib import import_module

import pytest
import torch
import torch.nn.functional as F

from dal import ActiveLearner, run
from dal.acquisition import Random
from dal.errors import DalError
from dal.labeling.oracle import DatasetOracle
from dal.models.adapt import as_adapted
from dal.stopping import CampaignConfig
from dal.training import FitResult, TrainingConfig
from dal.training.auto_start import Probe, is_probed, probes_of, start_between_probes

# dal.training has functions of the same names.
module = import_module("dal.training.fit_round")


def test_rounds_that_are_powers_of_two_are_probed():
    probes, probed = [], []
    for round in range(1, 40):
        if is_probed(probes, round):
            probes.append(Probe(round, 0, 0))
            probed.append(round)
    assert probed == [1, 2, 4, 8, 16, 32]
    assert is_probed([], 3) and is_probed([Probe(3, 0, 0)], 6) and not is_probed([Probe(3, 0, 0)], 5)


def test_the_last_probe_decides_whatever_the_order_and_ties_stay_warm():
    first, second = Probe(1, 2.0, 1.0), Probe(2, 1.0, 2.0)
    assert (first.winner, second.winner, Probe(4, 1.0, 1.0).winner) == ("scratch", "shrink_perturb", "shrink_perturb")
    assert start_between_probes([first]) == "scratch"
    assert start_between_probes([first, second]) == start_between_probes([second, first]) == "shrink_perturb"
    assert start_between_probes([]) == "shrink_perturb"


def test_probes_are_read_from_the_rows_that_have_them():
    rows = [
        {"round": 0},
        {"round": 1, "probe_warm_loss": 0.0, "probe_scratch_loss": 0.5},
        {"round": 2, "probe_warm_loss": None, "probe_scratch_loss": 0.5},  # null is what the journal makes of infinity
        {"round": 4, "probe_warm_loss": 0.7, "probe_scratch_loss": 0.5},
    ]
    assert probes_of(rows) == [Probe(1, 0.0, 0.5), Probe(2, math.inf, 0.5), Probe(4, 0.7, 0.5)]


class ScriptedFit:
    """In the place of fit(): writes 1 into the weights after a warm start, 2 after a fresh one, with losses as told."""

    def __init__(self, warm, scratch, fresh):
        self.losses, self.fresh = {"warm": warm, "scratch": scratch}, fresh
        self.starts = []

    def __call__(self, model, data, labeled, validation, *, config, spent, seed, round):
        state = model.module.state_dict()
        kind = "scratch" if all(torch.equal(v, self.fresh[k]) for k, v in state.items()) else "warm"
        self.starts.append((kind, copy.deepcopy(state), len(spent.points[0]), spent.max_updates))
        with torch.no_grad():
            for parameter in model.module.parameters():
                parameter.fill_(1 if kind == "warm" else 2)
        history = [{"update": i, "accuracy": 0.5, "loss": x} for i, x in enumerate(self.losses[kind], 1)]
        return FitResult(7 if kind == "warm" else 11, 1, "max_updates", "val_loss", history)


def scripted_round(monkeypatch, new_model, data, warm, scratch, *, round, probes=(), is_first=False, **settings):
    model = as_adapted(new_model())
    fresh = {k: v.clone() for k, v in new_model().state_dict().items()}
    previous = copy.deepcopy(model.module.state_dict())
    fake = ScriptedFit(warm, scratch, fresh)
    monkeypatch.setattr(module, "fit", fake)
    config = TrainingConfig(
        **{"warm_start": "auto", "shrink": 0.4, "perturb": 0.2, "min_updates": 1, "updates_per_label": 2.0} | settings
    )
    result = module.fit_round(
        model,
        data,
        (torch.arange(30), data.labels[:30]),
        (torch.arange(60, 90), data.labels[60:]),
        num_new=10,
        fresh=fresh,
        is_first=is_first,
        probes=list(probes),
        config=config,
        seed=0,
        round=round,
    )
    value = {float(v) for p in model.module.parameters() for v in p.detach().flatten()}
    return result, fake, value, previous, fresh


@pytest.mark.parametrize(
    ("warm", "scratch", "winner"),
    [
        ([0.9, 0.3, 0.8], [0.7, 0.4, 0.4], "shrink_perturb"),  # by the best check, not the last
        ([0.9, 0.5, 0.1], [0.7, 0.05, 2.0], "scratch"),
        ([0.4], [0.4], "shrink_perturb"),
    ],
)
def test_a_probe_keeps_the_weights_with_the_lower_loss(monkeypatch, new_model, data, warm, scratch, winner):
    result, fake, value, previous, fresh = scripted_round(monkeypatch, new_model, data, warm, scratch, round=1)
    assert value == ({1.0} if winner == "shrink_perturb" else {2.0})
    assert result.start == winner and result.probe == Probe(1, min(warm), min(scratch))
    assert [h["loss"] for h in result.history] == (warm if winner == "shrink_perturb" else scratch)
    assert result.updates == 7 + 11, "both were paid for"
    assert [start[0] for start in fake.starts] == ["warm", "scratch"]
    key = "head.weight"
    assert torch.equal(fake.starts[0][1][key], 0.4 * previous[key] + 0.2 * fresh[key])
    assert [start[3] for start in fake.starts] == [20, 60], "a warm one learns the new labels, a fresh one all"


def test_each_start_has_its_own_effort(monkeypatch, new_model, data):
    settings = {"replay": 0.5, "rewind": 0.25}
    _, fake, *_ = scripted_round(monkeypatch, new_model, data, [1.0], [2.0], round=1, **settings)
    assert [start[2:] for start in fake.starts] == [(15, 15), (30, 60)]


def test_between_probes_the_winner_of_the_last_one_is_taken_alone(monkeypatch, new_model, data):
    for probes, kind, start, updates in (
        ([Probe(1, 2.0, 1.0), Probe(2, 1.0, 2.0)], "warm", "shrink_perturb", 7),
        ([Probe(1, 1.0, 2.0), Probe(2, 2.0, 1.0)], "scratch", "scratch", 11),
    ):
        result, fake, *_ = scripted_round(monkeypatch, new_model, data, [1.0], [1.0], round=3, probes=probes)
        assert [start[0] for start in fake.starts] == [kind]
        assert (result.start, result.probe, result.updates) == (start, None, updates)


def test_the_first_round_has_nothing_to_be_warm_from(monkeypatch, new_model, data):
    result, fake, *_ = scripted_round(monkeypatch, new_model, data, [1.0], [1.0], round=0, is_first=True)
    assert [start[0] for start in fake.starts] == ["scratch"] and result.probe is None


def test_a_campaign_probes_rounds_1_2_and_4_and_keeps_the_better_network(data, new_model, monkeypatch):
    calls = []
    real = module.fit

    def spy(*args, **options):
        result = real(*args, **options)
        calls.append((options["round"], result.updates))
        return result

    monkeypatch.setattr(module, "fit", spy)
    training = TrainingConfig(batch_size=16, min_updates=5, max_updates=15, check_every=5, warm_start="auto")
    learner = ActiveLearner(new_model, data, Random(), training=training, seed=1)

    losses = []

    def on_round(row):
        indices, labels = learner.validation
        logits = learner.predict(indices)
        losses.append(float(F.cross_entropy(logits.double(), labels)))

    campaign = CampaignConfig(initial_size=6, query_size=6, budget=62, validation_size=20)
    rows = run(learner, DatasetOracle(data), campaign, on_round=on_round)
    assert len(rows) == 7
    assert [round for round, _ in calls] == [0, 1, 1, 2, 2, 3, 4, 4, 5, 6]
    winner = None
    for row, loss in zip(rows, losses, strict=True):
        probed = row["round"] in (1, 2, 4)
        assert ("probe_warm_loss" in row) == ("probe_scratch_loss" in row) == probed
        assert row["updates"] == sum(updates for round, updates in calls if round == row["round"])
        assert row["samples_backward_train"] == row["updates"] * min(16, row["num_labeled"])
        assert loss == pytest.approx(row["val_loss"], rel=1e-6), "the weights are those of the told loss"
        if probed:
            warm, scratch = row["probe_warm_loss"], row["probe_scratch_loss"]
            assert row["val_loss"] == min(warm, scratch) and warm != scratch
            winner = "shrink_perturb" if warm < scratch else "scratch"
        assert row["warm_start"] == (winner or "scratch")


@pytest.mark.parametrize(
    ("settings", "validation_size", "message"),
    [
        ({}, 0, "training.warm_start: expected campaign.validation_size above 0"),
        ({"monitor": "none"}, 10, "training.monitor: expected auto, val_loss or val_accuracy with warm_start=auto"),
        ({"monitor": "train_accuracy"}, 10, "training.monitor: expected auto, val_loss or val_accuracy"),
    ],
)
def test_nothing_to_compare_by_is_refused_before_a_label_is_bought(data, new_model, settings, validation_size, message):
    asked = []

    class Oracle(DatasetOracle):
        def __call__(self, indices):
            asked.append(indices)
            return super().__call__(indices)

    learner = ActiveLearner(new_model, data, Random(), training=TrainingConfig(warm_start="auto", **settings))
    campaign = CampaignConfig(initial_size=10, query_size=10, budget=40, validation_size=validation_size)
    with pytest.raises(DalError, match=message) as error:
        run(learner, Oracle(data), campaign)
    assert not asked and "\n" not in str(error.value)


def test_a_loop_of_ones_own_without_validation_is_refused_at_the_first_warm_round(data, new_model):
    training = TrainingConfig(min_updates=1, max_updates=2, warm_start="auto")
    learner = ActiveLearner(new_model, data, Random(), training=training)
    learner.tell([0, 1, 2], [0, 1, 2])
    learner.fit()
    learner.tell([3, 4], [0, 1])
    with pytest.raises(DalError, match=r"training.warm_start: expected campaign.validation_size above 0"):
        learner.fit()
