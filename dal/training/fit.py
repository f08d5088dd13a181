"""fit(): one round of training with a new Trainer, a new optimiser and early stopping in updates."""

from __future__ import annotations

import logging
import signal
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.utilities.model_helpers import is_overridden
from torch import Tensor

from dal.data.base import ImageData
from dal.data.datamodule import RoundData
from dal.distributed import from_rank_zero, rank
from dal.errors import DalError, bad_value
from dal.evaluation import predict
from dal.ledger import Ledger
from dal.models.adapt import AdaptedModel
from dal.models.classifier import Classifier
from dal.progress import OnProgress, silent
from dal.scoring import ScoringConfig
from dal.seeding import generator, isolated_rng
from dal.training.averaging import WeightAverage
from dal.training.config import TrainingConfig
from dal.training.counting import TrainingCounter
from dal.training.early_stopping import FiniteLoss, UpdateStopping
from dal.training.effort import effort

Points = tuple[Tensor, Tensor]
"""(L,) int64 indices and their (L,) int64 told labels."""

MAX_CHECKED = 2048
"""Training accuracy is watched on at most so many labeled points."""

RESERVED = {
    "max_epochs": "training.max_updates",
    "max_steps": "training.max_updates",
    "min_epochs": "training.min_updates",
    "min_steps": "training.min_updates",
    "enable_checkpointing": "the run folder",
    "limit_train_batches": "training.max_updates",
    "val_check_interval": "training.check_every",
    "check_val_every_n_epoch": "training.check_every",
    "use_distributed_sampler": "dal's own sampler",
}


@dataclass(frozen=True)
class FitResult:
    """What happened in a round of training. ``history`` has a dict a check: update, accuracy, loss."""

    updates: int
    best_update: int
    stopped_because: str  # no_improvement, train_accuracy_reached, max_updates, or trainer (its options or callbacks)
    monitor: str
    history: list[dict[str, float]] = field(default_factory=list)
    start: str = "scratch"  # the weights it started from: scratch, continue or shrink_perturb

    @property
    def best(self) -> dict[str, float] | None:
        """The check whose weights were kept; None where nothing was checked."""
        return next((h for h in self.history if h["update"] == self.best_update), None)

    def row(self) -> dict[str, Any]:
        """Keys for the journal. Accuracy and loss are those of the weights that were kept, on what was watched."""
        best, watched = self.best, self.monitor.split("_")[0]
        return {
            **({} if best is None else {f"{watched}_accuracy": best["accuracy"], f"{watched}_loss": best["loss"]}),
            "updates": self.updates,
            "best_update": self.best_update,
            "training_stopped": self.stopped_because,
            "training_history": self.history,
        }


def fit(
    model: AdaptedModel,
    data: ImageData,
    labeled: Points,
    validation: Points | None = None,
    *,
    config: TrainingConfig | None = None,
    scoring: ScoringConfig | None = None,
    trainer_options: Mapping[str, Any] | None = None,
    max_updates: int | None = None,
    seed: int = 0,
    round: int = 0,
    ledger: Ledger | None = None,
    on_progress: OnProgress = silent,
) -> FitResult:
    """Train the module in place and leave it with the best weights seen.

    ``max_updates`` are the most updates; None is what effort() gives a round from scratch. ``trainer_options`` are
    Lightning's own (accelerator, devices, strategy, precision, logger, callbacks, ...).
    Raises NonFiniteError for a loss that is not finite, DalError for options that dal sets itself.
    """
    config, ledger = config or TrainingConfig(), ledger or Ledger()
    options = _check_options(trainer_options or {})
    if not len(labeled[0]):
        raise bad_value("labeled", "at least one labeled point", 0)
    monitor = config.monitor
    if monitor == "auto":
        monitor = "train_accuracy" if validation is None else "val_loss"
    elif monitor.startswith("val_") and validation is None:
        raise bad_value("training.monitor", "train_accuracy or auto, as there are no validation points", monitor)
    num_labels = len(labeled[0])
    most = effort(config, num_labels, num_labels, warm=False) if max_updates is None else max_updates
    watched = _watched(labeled if monitor in ("train_accuracy", "none") else validation, seed, round)
    assert watched is not None

    def check() -> tuple[float, float]:
        with ledger.phase("validate"):
            logits = predict(model, data, watched[0], config=scoring, phase="validate", ledger=ledger)
            accuracy = float((logits.argmax(dim=1) == watched[1]).double().mean())
            loss = float(F.cross_entropy(logits.double(), watched[1]))
            # Devices may differ in the last bit, and all must stop at the same update.
            return from_rank_zero((accuracy, loss))

    stopping = UpdateStopping(config, monitor, most, check, lambda done: on_progress("train", done, most))
    module = model.module
    # A user's own validation_step may feed a scheduler of theirs; the Classifier's would only repeat check().
    own_validation = validation is not None and is_overridden("validation_step", module)
    own_validation = own_validation and not isinstance(module, Classifier)
    counter = TrainingCounter(ledger)
    loaders = RoundData(
        data,
        labeled,
        validation if own_validation else None,
        batch_size=config.batch_size,
        min_batches=most if monitor == "none" else config.check_every,
        seed=seed,
        round=round,
        num_workers=config.num_workers,
    )
    # Each rank drops other units.
    key = ("train", rank()) if rank() else ("train",)
    with ledger.phase("train"), isolated_rng(seed, round, *key), _quiet(), _keyboard_interrupt():
        theirs = options.pop("callbacks", [])
        theirs = [theirs] if isinstance(theirs, pl.Callback) else theirs
        average = [WeightAverage(config.average, most)] if config.average and monitor == "none" else []
        # The counter comes first: what the others do after a batch is not training.
        callbacks = [counter, *theirs, stopping, FiniteLoss(), *average]
        trainer = pl.Trainer(
            **{
                "logger": False,
                "enable_progress_bar": False,
                "enable_model_summary": False,
                "num_sanity_val_steps": 0,
                "log_every_n_steps": 10,
                "limit_val_batches": 1.0 if own_validation else 0,
            }
            | options,
            callbacks=callbacks,
            max_epochs=-1,
            max_steps=most,
            enable_checkpointing=False,
            use_distributed_sampler=False,
        )
        # A module that was only ever put to inference trains; parts frozen with eval() on purpose stay so.
        if not any(m.training for m in module.modules()):
            module.train()
        with counter:
            trainer.fit(module, datamodule=loaders)
    if stopping.best_state is not None:
        module.load_state_dict(stopping.best_state)
    assert stopping.reason is not None
    return FitResult(stopping.updates, stopping.best_update, stopping.reason, monitor, stopping.history)


def check_trainer_options(options: Mapping[str, Any]) -> None:
    """Raise DalError, before anything is done, for Trainer options that dal sets itself or that Lightning refuses."""
    checked = _check_options(options)
    try:
        with _quiet():
            pl.Trainer(**{"logger": False, "enable_progress_bar": False} | checked, enable_checkpointing=False)
    except (TypeError, ValueError, RuntimeError, MisconfigurationException) as error:
        first = str(error).strip().splitlines()[0].rstrip(".")
        raise DalError(f"trainer: expected options that Lightning takes, got: {first}.") from error


def _watched(points: Points | None, seed: int, round: int) -> Points | None:
    if points is None or len(points[0]) <= MAX_CHECKED:
        return points
    chosen = torch.randperm(len(points[0]), generator=generator(seed, round, "checked"))[:MAX_CHECKED]
    return points[0][chosen], points[1][chosen]


def _check_options(options: Mapping[str, Any]) -> dict[str, Any]:
    for name in options:
        if name in RESERVED:
            raise DalError(f"trainer.{name}: expected to be left out, since {RESERVED[name]} decides it, got a value.")
    return {k: v for k, v in options.items() if v is not None}


@contextmanager
def _quiet() -> Iterator[None]:
    """Lightning's notes on hardware and loaders, once a round, would bury what matters."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            warnings.filterwarnings("ignore", message=".*GPU available but not used.*")
            warnings.filterwarnings("ignore", message=".*number of training batches.*is smaller than.*")
            warnings.filterwarnings("ignore", message=".*in eval mode at the start of training.*")
            warnings.filterwarnings("ignore", message=".*Grad strides do not match.*")
            warnings.filterwarnings("ignore", message=".*Checkpoint directory.*")
            warnings.filterwarnings("ignore", message=".*val_dataloader.*validation_step.*")
            warnings.filterwarnings("ignore", message=".*no `val_dataloader`.*")
            warnings.filterwarnings("ignore", message=".*`isinstance.treespec, LeafSpec.`.*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _keyboard_interrupt() -> Iterator[None]:
    """Lightning turns Ctrl-C into SystemExit(1) and leaves SIGINT ignored; give the caller KeyboardInterrupt back."""
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT) if main else None
    try:
        yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        raise
    finally:
        if main:
            signal.signal(signal.SIGINT, handler)
