from types import SimpleNamespace

import pytest
import torch
from torch import nn

from dal.errors import DalError
from dal.training.config import TrainingConfig
from dal.training.early_stopping import UpdateStopping


def script(values, *, monitor="val_loss", updates=None, **changes):
    """Train a network whose only weight is the number of updates, measured as scripted, until it is told to stop.

    ``updates`` are global_step after each batch; by default each batch is an update.
    """
    config = TrainingConfig(**({"min_updates": 0, "max_updates": 100, "patience": 100, "check_every": 1} | changes))
    values = iter(values)
    progress = []
    stopping = UpdateStopping(config, monitor, config.max_updates, lambda: next(values), progress.append)
    trainer = SimpleNamespace(global_step=0, should_stop=False)
    module = nn.Linear(1, 1)
    for step in updates or range(1, config.max_updates + 1):
        trainer.global_step = step
        nn.init.constant_(module.weight, step)
        stopping.on_train_batch_end(trainer, module, None, None, 0)
        if trainer.should_stop:
            break
    stopping.on_train_end(trainer, module)
    assert trainer.should_stop == (stopping.updates >= config.max_updates or stopping.reason != "max_updates")
    return stopping, progress


def losses(*values):
    return [(0.5, value) for value in values]


def outcome(stopping):
    return stopping.reason, stopping.updates, stopping.best_update


@pytest.mark.parametrize(
    ("values", "changes", "expected"),
    [
        (losses(3, 2, 1, 2, 2, 2), {"patience": 2}, ("no_improvement", 5, 3)),
        (losses(3, 2, 1, 2, 0.5, 2, 2), {"patience": 2}, ("no_improvement", 7, 5)),
        # An equal value is no improvement.
        (losses(1, 1, 1, 1), {"patience": 2}, ("no_improvement", 3, 1)),
        (losses(1, 2, 2, 2, 2, 2), {"patience": 2, "min_updates": 5}, ("no_improvement", 5, 1)),
        (losses(5, 4, 3, 2), {"max_updates": 4}, ("max_updates", 4, 4)),
        (losses(1, 4, 3, 2), {"max_updates": 4, "patience": 3}, ("max_updates", 4, 1)),
        # In updates, not in checks.
        (losses(1, 2, 2, 2, 2), {"patience": 30, "check_every": 10}, ("no_improvement", 40, 10)),
        (losses(1, 2, 2, 2, 2), {"patience": 25, "check_every": 10}, ("no_improvement", 40, 10)),
        # The last look is at the maximum, though it is no multiple.
        (losses(3, 2, 1), {"max_updates": 25, "check_every": 10}, ("max_updates", 25, 25)),
        (losses(1), {"max_updates": 5, "check_every": 10}, ("max_updates", 5, 5)),
    ],
)
def test_patience_minimum_and_maximum_are_in_updates(values, changes, expected):
    stopping, progress = script(values, **changes)
    assert outcome(stopping) == expected
    assert progress == list(range(1, expected[1] + 1))
    assert stopping.best_state["weight"].item() == expected[2]
    looked = [h["update"] for h in stopping.history]
    assert len(looked) == len(set(looked))
    assert [h["loss"] for h in stopping.history] == [loss for _, loss in values[: len(looked)]]


def test_accuracy_is_watched_upwards_and_ties_go_to_the_lower_loss():
    values = [(0.5, 1.0), (0.8, 2.0), (0.8, 1.5), (0.8, 1.5), (0.7, 0.1), (0.7, 0.1)]
    for monitor in ("val_accuracy", "train_accuracy"):
        stopping, _ = script(values, monitor=monitor, patience=2)
        assert outcome(stopping) == ("no_improvement", 5, 3)


def test_loss_is_watched_though_accuracy_falls():
    stopping, _ = script([(0.9, 2.0), (0.1, 1.0), (0.9, 3.0), (0.9, 3.0)], patience=2)
    assert outcome(stopping) == ("no_improvement", 4, 2)


@pytest.mark.parametrize(
    ("monitor", "changes", "expected"),
    [
        ("train_accuracy", {"target_train_accuracy": 0.9}, ("train_accuracy_reached", 2, 2)),
        ("train_accuracy", {"target_train_accuracy": 0.9, "min_updates": 3}, ("train_accuracy_reached", 3, 2)),
        ("train_accuracy", {"target_train_accuracy": 0.99}, ("max_updates", 4, 2)),
        # Validation accuracy is not training accuracy.
        ("val_accuracy", {"target_train_accuracy": 0.9}, ("max_updates", 4, 2)),
    ],
)
def test_the_target_is_one_of_training_accuracy(monitor, changes, expected):
    values = [(0.1, 3.0), (0.9, 1.0), (0.9, 2.0), (0.9, 2.0)]
    stopping, _ = script(values, monitor=monitor, max_updates=4, **changes)
    assert outcome(stopping) == expected


def test_batches_without_an_update_do_not_count():
    """As when gradients are accumulated over three batches."""
    steps = [0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4]
    stopping, progress = script(losses(1, 2, 3), updates=steps, check_every=2, max_updates=4)
    assert outcome(stopping) == ("max_updates", 4, 2)
    assert progress == [1, 2, 3, 4]


def test_the_best_state_is_a_copy():
    stopping, _ = script(losses(1, 2, 2), patience=2)
    assert stopping.best_state["weight"].item() == 1
    assert not stopping.best_state["weight"].requires_grad


def test_a_loss_that_is_nan_is_never_the_best():
    stopping, _ = script(losses(2.0, float("nan"), 1.0, 3.0), max_updates=4)
    assert outcome(stopping) == ("max_updates", 4, 3)
    assert torch.equal(stopping.best_state["weight"], torch.tensor([[3.0]]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 1}, "training.batch_size: expected at least 2, got 1."),
        ({"max_updates": 0}, "training.max_updates: expected at least 1, got 0."),
        ({"patience": 0}, "training.patience: expected at least 1, got 0."),
        ({"check_every": 0}, "training.check_every: expected at least 1, got 0."),
        ({"num_workers": -1}, "training.num_workers: expected at least 0, got -1."),
        ({"min_updates": 9, "max_updates": 8}, "training.min_updates: expected 0 to max_updates (8); lower both"),
        ({"min_updates": -1}, "training.min_updates: expected at least 0, got -1."),
        ({"warm_start": "scrach"}, "training.warm_start: expected one of continue, scratch, shrink_perturb, got"),
        (
            {"monitor": "test_loss"},
            "training.monitor: expected one of auto, none, train_accuracy, val_accuracy, val_loss",
        ),
    ],
)
def test_config_is_checked(changes, message):
    with pytest.raises(DalError) as error:
        TrainingConfig(**changes)
    assert str(error.value).startswith(message)
