"""Trains one round with early stopping in updates."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch

from dal.data.images import ImageData
from dal.errors import DalError, bad_value
from dal.models.classifier import Classifier
from dal.models.state import load_state
from dal.runtime.accelerators import stop_search
from dal.runtime.distributed import from_rank_zero
from dal.runtime.lightning_package import PYTORCH_LIGHTNING, in_package, package_of
from dal.runtime.progress import silent
from dal.runtime.seeding import generator
from dal.scoring.measured import value_and_loss
from dal.scoring.model_pass import ModelPass
from dal.training.callbacks.kept_weights import KeptWeights
from dal.training.callbacks.round_checks import RoundChecks, look_within
from dal.training.callbacks.updates import UpdateCount
from dal.training.callbacks.weight_average import WeightAverage
from dal.training.config import TrainingConfig
from dal.training.early_stopping import Check, UpdateStopping
from dal.training.setup import Points, TrainingSetup
from dal.training.trainer.epochs import EpochData, batches_per_epoch
from dal.training.trainer.lightning import Plan
from dal.training.trainer.monitored import check_monitored, runs_validation
from dal.training.trainer.own_state import reset_module
from dal.training.trainer.run_trainer import OurCallbacks, run_trainer
from dal.training.trainer.structure import Structure, first_structure
from dal.training.trainer.trainer_options import own_options
from dal.training.warm_start import effort

MAX_CHECKED = 2048
"""Maximum number of labeled points that early stopping evaluates."""


@dataclass(frozen=True)
class FitResult:
    """The result of training a round.

    ``history`` has one dict per check, with update, accuracy and loss.
    """

    updates: int
    best_update: int
    stopped_because: str  # see UpdateStopping.reason
    monitor: str
    history: list[dict[str, float]] = field(default_factory=list)
    start: str = "scratch"  # the kind of initial weights: scratch, continue or shrink_perturb
    metric: str = "accuracy"  # the primary metric of the task

    @property
    def best(self) -> dict[str, float] | None:
        """The check whose weights were kept, or None without checks."""
        return next((h for h in self.history if h["update"] == self.best_update), None)

    def row(self) -> dict[str, Any]:
        """Return entries for the journal.

        Accuracy and loss are those of the kept weights on the monitored points.
        """
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
    after_setup: Callable[[], None] | None = None,
) -> FitResult:
    """Train the module in place and keep the best weights.

    Weights that a callback or hook sets at the end of training, such as an average, replace the best weights.

    ``max_updates`` is the maximum number of updates. None means the result of effort() for a round from scratch.
    ``after_setup`` runs after the module's setup() and before the first batch. Raises NonFiniteError for a loss that is
    not finite. Raises DalError if there are no labeled points, if Trainer options cannot be used, or if no batch leads
    to an update.
    """
    config, passes, module = setup.config, setup.passes, setup.passes.model.module
    stop_search()
    own_options(setup.trainer_options)
    reset_module(module)
    if not len(labeled[0]):
        raise bad_value("labeled", "at least one labeled point", 0)
    monitor = _monitor(config, validation is not None)
    check_monitored(setup, 0 if validation is None else len(validation[0]), with_functions=False)
    num_labels = len(labeled[0])
    most = effort(config, num_labels, num_labels, warm=False) if max_updates is None else max_updates
    watched = _watched(validation if validation and monitor.startswith("val_") else labeled, setup.seed, round)
    structure = first_structure(module)
    check = _check(passes, data, watched, structure)
    validates = validation is not None and runs_validation(setup)
    num_images = num_labels if data.units_per_image == 1 else len(torch.unique(data.images_of(labeled[0])))
    plan = _plan(setup, num_images, most, validates)
    made = partial(_callback, package_of(module) or PYTORCH_LIGHTNING)
    count, kept = made(UpdateCount, most, plan.accumulate), made(KeptWeights)

    def show(done: int) -> None:
        passes.on_progress("train", done, most)

    stopping = made(UpdateStopping, config, monitor, most, check, show, data.task.primary_metric, count)
    loaders = _loaders(setup, data, (labeled, validation if validates else None), plan, monitor, round)
    last = [made(WeightAverage, config.average, most, count, kept)] if config.average and monitor == "none" else []
    within = passes.observer.within
    if within is not None:
        last.append(made(RoundChecks, within.num_checks, most, look_within(passes, within, structure), count))
    ours = OurCallbacks(kept, count, stopping, after_setup, last)
    run_trainer(setup, loaders, plan, ours, round)
    _check_trained(count, stopping.updates)
    if stopping.best_state is not None:
        if kept.are_replaced(module):
            stopping.keep(check())
        else:
            load_state(module, stopping.best_state)
    if structure.is_compiled():
        # Scoring needs layers that torch.compile hides. The next round compiles again.
        structure.restore()
    reason = "no_update" if count.is_idle else stopping.reason or ""
    return FitResult(stopping.updates, stopping.best_update, reason, monitor, stopping.history, metric=stopping.metric)


def _check_trained(count: UpdateCount, updates: int) -> None:
    """Raise DalError if the round has not trained the module."""
    if not updates:
        raise DalError(
            f"training: expected at least one update in the round, got none in {count.batches} batches. Trainer "
            "options, a callback or the module ended training, or no optimizer made a step."
        )
    if not count.trains:
        raise DalError(
            f"training: expected a step for at least one parameter of the module, got none in {count.batches} batches. "
            "Check that configure_optimizers() returns an optimizer of the module's parameters, that not all of them "
            "are frozen, and that training_step() returns a loss."
        )


def _callback(package: str, cls: Any, *arguments: Any) -> Any:
    return in_package(cls, "Callback", package)(*arguments)


def _plan(setup: TrainingSetup, num_images: int, most: int, validates: bool) -> Plan:
    """Return the length of a round.

    The module's own validation runs about as often as the check of early stopping.
    """
    config, accumulate = setup.config, setup.trainer_options.get("accumulate_grad_batches") or 1
    num_batches = batches_per_epoch(num_images, config.batch_size, accumulate)
    every = math.ceil(config.check_every * accumulate / num_batches) if validates else 0
    plan = Plan(most, num_batches, accumulate, every)
    # A round shorter than a check would otherwise have no validation.
    return replace(plan, validate_every=1) if every > 1 and config.check_every > most else plan


def _loaders(
    setup: TrainingSetup,
    data: ImageData,
    points: tuple[Points, Points | None],
    plan: Plan,
    monitor: str,
    round: int,
) -> EpochData:
    config, module = setup.config, setup.passes.model.module
    # Each stream draws from the global generator, which dropout also uses. By default, one stream serves a whole round.
    # With the Classifier and early stopping, each check starts a new stream, because its published results include
    # these draws.
    is_published = monitor != "none" and isinstance(module, Classifier)
    kind = in_package(EpochData, "LightningDataModule", package_of(module) or PYTORCH_LIGHTNING)
    loaders: EpochData = kind(
        setup.passes.sized(data),
        *points,
        batch_size=config.batch_size,
        min_batches=config.check_every if is_published else plan.max_updates,
        seed=setup.seed,
        round=round,
        num_workers=config.num_workers,
        form=setup.passes.model.batch,
    )
    loaders.epoch_length, loaders.user_datamodule = plan.num_batches, setup.datamodule
    return loaders


def _monitor(config: TrainingConfig, has_validation: bool) -> str:
    """Return the monitored metric, with ``auto`` resolved."""
    if config.monitor == "auto":
        return "val_loss" if has_validation else "train_accuracy"
    if config.monitor.startswith("val_") and not has_validation:
        expected = "train_accuracy or auto, because there are no validation points"
        raise bad_value("training.monitor", expected, config.monitor)
    return config.monitor


def _check(passes: ModelPass, data: ImageData, watched: Points, structure: Structure) -> Check:
    """Return the check of early stopping.

    The check returns the primary metric and the mean loss on the watched points.
    """
    # Keep the model on the Trainer's device.
    watching = replace(passes, device=None, on_progress=silent)

    def check() -> tuple[float, float]:
        with passes.ledger.phase("validate"), structure.uncompiled():
            found = value_and_loss(watching, data, watched, "validate")
            # Results may differ in the last bit between devices, but all must stop at the same update.
            return from_rank_zero(found)

    return check


def _watched(points: Points, seed: int, round: int) -> Points:
    if len(points[0]) <= MAX_CHECKED:
        return points
    chosen = torch.randperm(len(points[0]), generator=generator(seed, round, "checked"))[:MAX_CHECKED]
    return points[0][chosen], points[1][chosen]
