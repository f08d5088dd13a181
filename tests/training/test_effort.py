"""How many updates a round takes."""

import math
from importlib import import_module

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
from dal.training.warm_start import effort


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
    ],
)
def test_updates_are_counted_on_the_labels_that_a_round_learns(settings, warm, planned):
    config = TrainingConfig(**{"min_updates": 10, "max_updates": 400} | settings)
    assert effort(config, 100, 20, warm) == planned


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"updates_per_label": 0}, "training.updates_per_label: expected a number above 0, or null, got 0"),
        ({"updates_per_label": math.nan}, "training.updates_per_label: expected a number above 0"),
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

    class Spy(module.EpochData):
        def __init__(self, data, points, *rest, **options):
            fitted.append(points)
            super().__init__(data, points, *rest, **options)

    monkeypatch.setattr(module, "EpochData", Spy)
    training = TrainingConfig(
        batch_size=8,
        monitor="none",
        updates_per_label=0.5,
        min_updates=2,
        max_updates=30,
        warm_start="continue",
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
    assert [len(indices) for indices, _ in fitted] == [20, 26, 36], "the updates are for the new labels, among all"
