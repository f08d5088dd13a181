"""Runs Lightning's Trainer for one round."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl

from dal.errors import DalError, bad_value
from dal.models.own import is_own
from dal.runtime.distributed import rank
from dal.runtime.lightning_package import PYTORCH_LIGHTNING, in_package, load, package_of, quiet
from dal.runtime.seeding import isolated_rng
from dal.training.callbacks.cost_callback import TrainingCounter
from dal.training.callbacks.kept_weights import KeptWeights
from dal.training.callbacks.loss_log import LossLog, logged_by_callback, logs_by_callback
from dal.training.callbacks.together import Together
from dal.training.callbacks.updates import UpdateCount
from dal.training.early_stopping import FiniteLoss, UpdateStopping
from dal.training.setup import TrainingSetup
from dal.training.trainer.callback_checks import NEED_LOGGER
from dal.training.trainer.epochs import EpochData
from dal.training.trainer.events import tensorboard_logger
from dal.training.trainer.lean_loop import use_lean_loop
from dal.training.trainer.lightning import Plan, has, is_overridden, keyboard_interrupt, new_trainer, termination
from dal.training.trainer.trainer_options import first_line, own_options
from dal.training.trainer.tried import callbacks_of_module
from dal.training.trainer.user_objects import as_list, continued_loggers, new_callbacks, new_plugins

_LIGHTNING = ("pytorch_lightning", "lightning", "lightning_fabric")


class _RoundStart(pl.Callback):
    """Runs a function after setup() and the creation of optimizers."""

    def __init__(self, after_setup: Callable[[], None]) -> None:
        self.after_setup = after_setup

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.after_setup()


class _ValidatesOnce(pl.Callback):
    """Runs validation with the last update if it has not run before in the round."""

    has_run = False

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.has_run = True

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.should_stop and not self.has_run:
            trainer.check_val_every_n_epoch = 1


class _PlateauPace(pl.Callback):
    """Makes plateau schedulers step only in epochs with validation."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        every = trainer.check_val_every_n_epoch or 1
        for config in trainer.lr_scheduler_configs:
            waits = config.monitor not in trainer.callback_metrics and config.frequency % every
            if config.reduce_on_plateau and config.interval == "epoch" and waits:
                config.frequency *= every


@dataclass(frozen=True)
class OurCallbacks:
    """dal's callbacks of one round."""

    kept: KeptWeights
    count: UpdateCount
    stopping: UpdateStopping
    after_setup: Callable[[], None] | None
    last: Sequence[pl.Callback]


def run_trainer(setup: TrainingSetup, loaders: EpochData, plan: Plan, ours: OurCallbacks, round: int) -> None:
    """Train the module with the user's options, callbacks and loggers.

    Raises NonFiniteError for a loss that is not finite, and DalError for what Lightning rejects.
    """
    passes, module = setup.passes, setup.passes.model.module
    options = new_plugins(own_options(setup.trainer_options), round)
    callbacks, logger = as_list(options.pop("callbacks", None)), options.pop("logger", None)
    # Each rank uses different dropout masks.
    key = ("train", rank()) if rank() else ("train",)
    with ExitStack() as stack:
        stack.enter_context(passes.ledger.phase("train"))
        theirs = stack.enter_context(new_callbacks(callbacks, module, round))
        loggers = stack.enter_context(continued_loggers(as_list(logger), setup.logs.round, setup.logs.steps_before))
        for guard in (isolated_rng(setup.seed, round, *key), quiet(), keyboard_interrupt(), termination()):
            stack.enter_context(guard)
        package = package_of(module) or PYTORCH_LIGHTNING
        counter = in_package(TrainingCounter, "Callback", package)(passes.ledger)
        if not theirs and logs_by_callback(module, plan.accumulate):
            stack.enter_context(logged_by_callback(module))
        options["logger"] = _loggers(setup, logger, loggers, theirs, package)
        trainer = new_trainer(module, options, _in_order(counter, theirs, ours, module, package), plan)
        use_lean_loop(trainer, module)
        # If the whole module is in eval mode, it was only used for inference, so train all of it. Otherwise, parts in
        # eval mode were frozen on purpose and stay frozen.
        if not any(m.training for m in module.modules()):
            module.train()
        stack.callback(loaders.close)
        stack.callback(ours.count.close)
        with counter:
            _fit(trainer, module, loaders)


def _fit(trainer: Any, module: Any, loaders: EpochData) -> None:
    try:
        trainer.fit(module, datamodule=loaders)
    except Exception as error:
        name = error.args[0] if isinstance(error, KeyError) and error.args else None
        if isinstance(name, str) and name.startswith("val") and name not in trainer.callback_metrics:
            expected = "a metric that validation has logged, which runs about every training.check_every updates"
            raise bad_value("trainer.callback_metrics", expected, name) from error
        if isinstance(error, ValueError) and str(error).startswith("Tried to step"):  # OneCycleLR
            expected = "a scheduler for all steps of a round, such as self.trainer.estimated_stepping_batches updates"
            raise DalError(f"configure_optimizers: expected {expected}, got: {first_line(error)}.") from error
        # Errors of the user's own code keep their traceback.
        if type(error).__name__ == "MisconfigurationException" or _is_of_lightning(error):
            raise DalError(f"trainer: expected options that Lightning accepts, got: {first_line(error)}.") from error
        raise


def _is_of_lightning(error: Exception) -> bool:
    """Return whether Lightning raised the error, and no code of the user called it."""
    place, roots = error.__traceback__, []
    while place is not None:
        roots.append(str(place.tb_frame.f_globals.get("__name__")).partition(".")[0])
        place = place.tb_next
    return roots[-1] in _LIGHTNING and set(roots) <= {*_LIGHTNING, "dal", "torch", "contextlib"}


def _in_order(counter: Any, theirs: Sequence[Any], ours: OurCallbacks, module: Any, package: str) -> list[Any]:
    """Return all callbacks of a round, in order."""

    def made(cls: Any, *arguments: Any) -> Any:
        return in_package(cls, "Callback", package)(*arguments)

    hooks = ("configure_callbacks", "on_train_end", "on_fit_end", "teardown")
    kept = [ours.kept] if theirs or any(is_overridden(hook, module) for hook in hooks) else []
    # The cost counter must be first, because the work of other callbacks after a batch is not training.
    before = [counter, *kept, *([] if ours.after_setup is None else [made(_RoundStart, ours.after_setup)])]
    after = [ours.count, ours.stopping, made(FiniteLoss), made(_ValidatesOnce), made(_PlateauPace), *ours.last]
    if not getattr(module, "logs_train_loss", True):
        after.append(made(LossLog))
    if not theirs:
        return [made(Together, [*before, *after])]
    return [made(Together, before), *theirs, made(Together, after)]


def _loggers(setup: TrainingSetup, given: Any, loggers: list[Any], callbacks: list[Any], package: str) -> Any:
    """Return the user's loggers and dal's, or one that discards all. ``logger=False`` turns off all."""
    folder = setup.logs.folder
    if folder is not None and given is not False:
        return [*loggers, tensorboard_logger(folder, package)]
    if loggers or given is not None:
        return loggers or bool(given)
    found = [*callbacks, *callbacks_of_module(setup)]
    needy = next((name for name in NEED_LOGGER if has(found, name)), None)
    if needy is not None:
        warnings.warn(
            f"trainer.logger: {needy} has no logger to write to. Pass one, or a run folder, to keep its values.",
            stacklevel=2,
        )
    if needy is None and not callbacks and is_own(setup.passes.model.module):
        return False
    # Lightning creates a logger by default, so a module or a callback may write to it.
    return [load(f"{package}.loggers.logger").DummyLogger()]
