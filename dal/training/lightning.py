"""Lightning Trainer helpers: options, log messages and Ctrl-C."""

from __future__ import annotations

import logging
import signal
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.utilities.exceptions import MisconfigurationException

from dal.errors import DalError

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


def new_trainer(
    options: Mapping[str, Any],
    callbacks: Sequence[pl.Callback],
    *,
    first: pl.Callback,
    max_updates: int,
    validates: bool,
) -> pl.Trainer:
    """Create the Trainer of one round with the user's ``options`` and callbacks.

    ``first`` precedes the user's callbacks and ``callbacks`` follow them. ``validates`` enables the module's own
    validation loop.
    """
    options = dict(options)
    theirs = options.pop("callbacks", [])
    theirs = [theirs] if isinstance(theirs, pl.Callback) else theirs
    defaults = {
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 10,
        "limit_val_batches": 1.0 if validates else 0,
    }
    return pl.Trainer(
        **defaults | options,
        # The first counts the cost of an update; the work of other callbacks after a batch is not training.
        callbacks=[first, *theirs, *callbacks],
        max_epochs=-1,
        max_steps=max_updates,
        enable_checkpointing=False,
        use_distributed_sampler=False,
    )


def check_trainer_options(options: Mapping[str, Any]) -> None:
    """Raise DalError for Trainer options that dal reserves or Lightning rejects."""
    checked = own_options(options)
    try:
        with quiet():
            pl.Trainer(**{"logger": False, "enable_progress_bar": False} | checked, enable_checkpointing=False)
    except (TypeError, ValueError, RuntimeError, MisconfigurationException) as error:
        first = str(error).strip().splitlines()[0].rstrip(".")
        raise DalError(f"trainer: expected options that Lightning accepts, got: {first}.") from error


def own_options(options: Mapping[str, Any]) -> dict[str, Any]:
    for name in options:
        if name in RESERVED:
            raise DalError(f"trainer.{name}: expected to be left out, because {RESERVED[name]} sets it, got a value.")
    return {k: v for k, v in options.items() if v is not None}


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Lightning's messages on hardware and loaders, which repeat every round."""
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
            warnings.filterwarnings("ignore", message=".*but have passed in a `LightningDataModule`.*")
            warnings.filterwarnings("ignore", message=".*val_dataloader.*validation_step.*")
            warnings.filterwarnings("ignore", message=".*no `val_dataloader`.*")
            warnings.filterwarnings("ignore", message=".*`isinstance.treespec, LeafSpec.`.*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def keyboard_interrupt() -> Iterator[None]:
    """Restore KeyboardInterrupt and the SIGINT handler.

    On Ctrl-C, Lightning raises SystemExit(1) and leaves SIGINT ignored. A shutdown that fails halfway, such as while
    the Trainer is set up, raises another error instead.
    """
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT) if main else None
    try:
        yield
    except (Exception, SystemExit) as error:
        if _follows_interrupt(error):
            raise KeyboardInterrupt from error
        raise
    finally:
        if main:
            signal.signal(signal.SIGINT, handler)


def _follows_interrupt(error: BaseException | None) -> bool:
    """Whether the error was raised while a KeyboardInterrupt was handled."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__context__
    return False
