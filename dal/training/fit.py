"""Trains one round with early stopping in updates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from pytorch_lightning.utilities.model_helpers import is_overridden

from dal.data.images import ImageData
from dal.data.loaders import RoundData
from dal.errors import bad_value
from dal.models.classifier import Classifier
from dal.runtime.distributed import from_rank_zero, rank
from dal.runtime.progress import silent
from dal.runtime.seeding import generator, isolated_rng
from dal.scoring.model_pass import ModelPass
from dal.training.config import TrainingConfig
from dal.training.cost_callback import TrainingCounter
from dal.training.early_stopping import FiniteLoss, UpdateStopping
from dal.training.lightning import keyboard_interrupt, new_trainer, own_options, quiet
from dal.training.setup import Points, TrainingSetup
from dal.training.warm_start import effort
from dal.training.weight_average import WeightAverage

MAX_CHECKED = 2048
"""Maximum number of labeled points that early stopping evaluates."""


@dataclass(frozen=True)
class FitResult:
    """What happened in a round of training. ``history`` has a dict a check: update, accuracy, loss."""

    updates: int
    best_update: int
    stopped_because: str  # no_improvement, train_accuracy_reached, max_updates, or trainer (its options or callbacks)
    monitor: str
    history: list[dict[str, float]] = field(default_factory=list)
    start: str = "scratch"  # the weights it started from: scratch, continue or shrink_perturb
    metric: str = "accuracy"  # the primary metric of the task

    @property
    def best(self) -> dict[str, float] | None:
        """The check whose weights were kept; None where nothing was checked."""
        return next((h for h in self.history if h["update"] == self.best_update), None)

    def row(self) -> dict[str, Any]:
        """Keys for the journal. Accuracy and loss are those of the weights that were kept, on what was watched."""
        best, watched = self.best, self.monitor.split("_")[0]
        return {
            **(
                {} if best is None else {f"{watched}_{self.metric}": best[self.metric], f"{watched}_loss": best["loss"]}
            ),
            "updates": self.updates,
            "best_update": self.best_update,
            "training_stopped": self.stopped_because,
            "training_history": self.history,
        }


def fit(
    setup: TrainingSetup,
    data: ImageData,
    labeled: Points,
    validation: Points | None = None,
    *,
    max_updates: int | None = None,
    round: int = 0,
) -> FitResult:
    """Train the module in place and leave it with the best weights seen.

    ``max_updates`` are the most updates; None is what effort() gives a round from scratch. Raises NonFiniteError for a
    loss that is not finite, DalError where nothing is labeled and for a Trainer option that dal sets itself.
    """
    config, seed, passes = setup.config, setup.seed, setup.passes
    options, module, num_labels = own_options(setup.trainer_options), passes.model.module, len(labeled[0])
    if not num_labels:
        raise bad_value("labeled", "at least one labeled point", 0)
    monitor = _monitor(config, validation is not None)
    most = effort(config, num_labels, num_labels, warm=False) if max_updates is None else max_updates
    watched = _watched(validation if validation and monitor.startswith("val_") else labeled, seed, round)
    check = _check(passes, data, watched)
    metric = data.task.primary_metric
    stopping = UpdateStopping(
        config, monitor, most, check, lambda done: passes.on_progress("train", done, most), metric
    )
    # A user's own validation_step may feed a scheduler of theirs; the Classifier's would only repeat the check.
    validates = is_overridden("validation_step", module) and not isinstance(module, Classifier)
    loaders = RoundData(
        data,
        labeled,
        validation if validates else None,
        batch_size=config.batch_size,
        min_batches=most if monitor == "none" else config.check_every,
        seed=seed,
        round=round,
        num_workers=config.num_workers,
        form=passes.model.batch,
    )
    average = [WeightAverage(config.average, most)] if config.average and monitor == "none" else []
    # Each rank drops other units.
    key = ("train", rank()) if rank() else ("train",)
    with passes.ledger.phase("train"), isolated_rng(seed, round, *key), quiet(), keyboard_interrupt():
        counter = TrainingCounter(passes.ledger)
        trainer = new_trainer(
            options,
            [stopping, FiniteLoss(), *average],
            first=counter,
            max_updates=most,
            validates=validates and validation is not None,
        )
        # A module that was only ever put to inference trains; parts frozen with eval() on purpose stay so.
        if not any(m.training for m in module.modules()):
            module.train()
        with counter:
            trainer.fit(module, datamodule=loaders)
    if stopping.best_state is not None:
        module.load_state_dict(stopping.best_state)
    assert stopping.reason is not None
    return FitResult(stopping.updates, stopping.best_update, stopping.reason, monitor, stopping.history, metric=metric)


def _monitor(config: TrainingConfig, has_validation: bool) -> str:
    """What is watched: what ``config.monitor`` says, or what auto means."""
    if config.monitor == "auto":
        return "val_loss" if has_validation else "train_accuracy"
    if config.monitor.startswith("val_") and not has_validation:
        expected = "train_accuracy or auto, as there are no validation points"
        raise bad_value("training.monitor", expected, config.monitor)
    return config.monitor


def _check(passes: ModelPass, data: ImageData, watched: Points) -> Callable[[], tuple[float, float]]:
    """The check of early stopping: the primary metric and the mean loss on the watched points."""
    # The model stays on the Trainer's device.
    watching = replace(passes, device=None, on_progress=silent)

    def check() -> tuple[float, float]:
        with passes.ledger.phase("validate"):
            logits = watching.logits(data, watched[0], "validate")
            value = data.task.value(logits, watched[1])
            loss = float(data.task.loss(logits.double(), watched[1]))
            # Devices may differ in the last bit, and all must stop at the same update.
            return from_rank_zero((value, loss))

    return check


def _watched(points: Points, seed: int, round: int) -> Points:
    if len(points[0]) <= MAX_CHECKED:
        return points
    chosen = torch.randperm(len(points[0]), generator=generator(seed, round, "checked"))[:MAX_CHECKED]
    return points[0][chosen], points[1][chosen]
