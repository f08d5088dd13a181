"""How many updates a round takes, and on which labels."""

import math
from importlib import import_module

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from helpers.training import fit

from dal import ActiveLearner
from dal.acquisition import Random
from dal.costs.ledger import Ledger
from dal.errors import DalError
from dal.models.adapt import as_adapted
from dal.training import TrainingConfig
from dal.training.effort import effort


def points(count):
    """Shuffled indices, in the order of labeling, and labels that tell each index."""
    indices = torch.randperm(count, generator=torch.Generator().manual_seed(8)) + 1000
    return indices, indices * 3


def config(**settings):
    warm = {"warm_start": "continue"} if "replay" in settings else {}  # from scratch it is refused
    return TrainingConfig(**{"min_updates": 10, "max_updates": 400} | warm | settings)


@pytest.mark.parametrize(
    ("settings", "warm", "planned"),
    [
        ({}, False, 400),
        ({}, True, 400),
        ({"updates_per_label": 2.5}, False, 250),  # 100 labels
        ({"updates_per_label": 2.5}, True, 50),  # 20 new ones
        ({"updates_per_label": 0.51}, True, 11),  # 10.2: a part of an update is a whole one
        ({"updates_per_label": 0.1}, True, 10),  # no fewer than min_updates
        ({"updates_per_label": 0.001, "min_updates": 0}, True, 1),
        ({"updates_per_label": 1e-9, "min_updates": 0}, True, 1),
        ({"updates_per_label": 5}, False, 400),  # no more than max_updates
        # Old labels that are fitted again have been learned already.
        ({"updates_per_label": 2.5, "replay": 4.0}, True, 50),
    ],
)
def test_updates_are_counted_on_the_labels_that_a_round_learns(settings, warm, planned):
    spent = effort(config(**settings), points(100), 20, warm, seed=0, round=1)
    assert (spent.planned, spent.skipped, spent.max_updates) == (planned, 0, planned)


@pytest.mark.parametrize(
    ("rewind", "warm", "skipped"),
    [(0.5, True, 50), (0.5, False, 0), (0.0, True, 0), (0.999, True, 99), (0.255, True, 25)],
)
def test_rewinding_leaves_a_share_of_a_warm_round_out_but_never_all_of_it(rewind, warm, skipped):
    spent = effort(
        config(min_updates=0, max_updates=100, rewind=rewind, warm_start="continue"),
        points(30),
        10,
        warm,
        seed=0,
        round=1,
    )
    assert (spent.planned, spent.skipped, spent.max_updates) == (100, skipped, 100 - skipped)
    single = effort(
        config(min_updates=0, max_updates=1, rewind=0.99, warm_start="continue"), points(30), 10, True, seed=0, round=1
    )
    assert single.max_updates == 1
    floored = effort(
        config(min_updates=80, max_updates=100, rewind=0.5, warm_start="continue"),
        points(30),
        10,
        warm,
        seed=0,
        round=1,
    )
    assert floored.max_updates == (80 if warm else 100)


@pytest.mark.parametrize(
    ("replay", "num_old"), [(None, 80), (0.0, 0), (0.5, 10), (0.525, 11), (0.52, 10), (2.0, 40), (4.0, 80), (9.0, 80)]
)
def test_replay_fits_the_new_labels_and_so_many_old_ones(replay, num_old):
    indices, labels = points(100)
    fitted, told = effort(config(replay=replay), (indices, labels), 20, True, seed=3, round=2).points
    assert torch.equal(fitted[-20:], indices[80:]), "all new ones, last, as they were"
    old = fitted[:-20].tolist()
    assert len(old) == len(set(old)) == num_old and set(old) <= set(indices[:80].tolist())
    places = [indices.tolist().index(i) for i in old]
    assert places == sorted(places), "in the order of labeling"
    assert torch.equal(told, fitted * 3), "a label goes with its point"


def test_old_labels_are_drawn_by_seed_and_round_alone_and_all_alike():
    def drawn(seed, round):
        return effort(config(replay=1.0), points(100), 20, True, seed=seed, round=round).points[0][:20].tolist()

    torch.manual_seed(0)
    first = drawn(1, 2)
    torch.manual_seed(1)
    assert drawn(1, 2) == first
    assert drawn(2, 2) != first and drawn(1, 3) != first
    counts = np.zeros(80)
    order = points(100)[0].tolist()
    for round in range(400):
        counts[[order.index(i) for i in drawn(0, round)]] += 1
    # 400 draws with a chance of a quarter: 100 each, with a standard deviation of 8.7.
    assert counts.sum() == 400 * 20 and counts.min() > 60 and counts.max() < 140


def test_a_round_from_scratch_fits_everything():
    labeled = points(50)
    fitted = effort(config(replay=0.0), labeled, 10, False, seed=0, round=1).points
    assert torch.equal(fitted[0], labeled[0]) and torch.equal(fitted[1], labeled[1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"updates_per_label": 0}, "training.updates_per_label: expected a number above 0, or null, got 0"),
        ({"updates_per_label": math.nan}, "training.updates_per_label: expected a number above 0"),
        ({"replay": -0.1}, "training.replay: expected a number from 0, or null, got -0.1"),
        (
            {"replay": 3.0, "warm_start": "scratch"},
            "training.replay: expected null with warm_start=scratch, .* got 3.0",
        ),
        ({"rewind": 1.0}, "training.rewind: expected a share from 0 to below 1, got 1.0"),
        ({"monitor": "test_loss"}, "training.monitor: expected one of .*none"),
    ],
)
def test_bad_settings_are_one_sentence_each(settings, message):
    with pytest.raises(DalError, match=message):
        TrainingConfig(**settings)


class Steps(pl.Callback):
    """Counts optimizer steps by hand, and keeps the weights after the last one."""

    def __init__(self):
        self.count, self.last = 0, None

    def on_before_optimizer_step(self, trainer, module, optimizer):
        self.count += 1

    def on_train_end(self, trainer, module):
        self.last = {k: v.clone() for k, v in module.state_dict().items()}


@pytest.mark.parametrize(("num_labels", "updates"), [(4, 12), (20, 30), (60, 40)])
@pytest.mark.parametrize("has_validation", [False, True])
def test_nothing_watched_takes_all_its_updates_and_keeps_the_last_weights(
    data, new_model, num_labels, updates, has_validation
):
    training = TrainingConfig(
        batch_size=16, monitor="none", updates_per_label=1.5, min_updates=12, max_updates=40, check_every=3, patience=1
    )
    labeled = torch.arange(num_labels), data.labels[:num_labels]
    validation = (torch.arange(70, 90), data.labels[70:90]) if has_validation else None
    model, steps, ledger = as_adapted(new_model()), Steps(), Ledger()
    options = {"accelerator": "cpu", "callbacks": steps}
    result = fit(model, data, labeled, validation, config=training, trainer_options=options, ledger=ledger)
    assert (result.updates, result.best_update, result.stopped_because) == (updates, updates, "max_updates")
    assert steps.count == updates
    assert (result.monitor, result.history, result.best) == ("none", [], None)
    state = model.module.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in steps.last.items())
    row = ledger.row()
    assert row["samples_forward_validate"] == 0 and row["samples_backward_train"] == updates * min(16, num_labels)


def test_a_learner_fits_what_effort_says_in_warm_rounds(data, new_model, monkeypatch):
    module, fitted = import_module("dal.training.fit"), []
    real = module.RoundData

    def spy(data, points, *rest, **options):
        fitted.append(points)
        return real(data, points, *rest, **options)

    monkeypatch.setattr(module, "RoundData", spy)
    training = TrainingConfig(
        batch_size=8,
        monitor="none",
        updates_per_label=0.5,
        min_updates=2,
        max_updates=30,
        warm_start="continue",
        replay=0.5,
    )
    learner = ActiveLearner(new_model, data, Random(), training=training, seed=5)
    updates = []
    for size in (20, 6, 10):
        query = learner.ask(size)
        learner.tell(query, data.labels[list(query)].tolist())
        updates.append(learner.fit().updates)
        indices, labels = fitted[-1]
        assert torch.equal(labels, data.labels[indices])
        assert indices[-size:].tolist() == list(query)
    assert updates == [10, 3, 5]
    assert [len(indices) for indices, _ in fitted] == [20, 6 + 3, 10 + 5]
    assert set(fitted[2][0][:5].tolist()) <= set(learner.pool.labeled[:26].tolist())
