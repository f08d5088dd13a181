"""Sets the state that a module reads from its Trainer during scoring."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class NoTrainer:
    """Stands in for a Trainer before the first round.

    Modules can then check whether they train.

    >>> NoTrainer().training, NoTrainer().validating
    (False, True)
    """

    training = testing = predicting = sanity_checking = False
    validating = evaluating = is_global_zero = True
    current_epoch = global_step = global_rank = local_rank = node_rank = 0
    world_size = num_devices = num_nodes = 1
    datamodule = logger = None
    barebones = False
    max_epochs = max_steps = num_training_batches = estimated_stepping_batches = 1
    loggers: tuple[Any, ...] = ()
    callbacks: tuple[Any, ...] = ()


@contextmanager
def evaluating(module: Any) -> Iterator[None]:
    """Make ``module.trainer`` report validation instead of training inside the context."""
    trainer = getattr(module, "_trainer", None)
    if trainer is None:
        module.trainer = NoTrainer()
        try:
            yield
        finally:
            module.trainer = None
        return
    stage = trainer.state.stage
    trainer.validating = True
    try:
        yield
    finally:
        trainer.state.stage = stage
