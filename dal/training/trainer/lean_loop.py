"""Trains dal's own modules without the hooks that Lightning calls at each batch."""

from __future__ import annotations

from typing import Any

from dal.runtime.lightning_package import PYTORCH_LIGHTNING, in_package, load
from dal.training.callbacks.together import Together

_VERSIONS = ("2.5.", "2.6.")
"""Versions of Lightning whose loop does at each batch what the lean loop does."""

_HOOKS = (
    "on_before_batch_transfer",
    "transfer_batch_to_device",
    "on_after_batch_transfer",
    "on_train_batch_start",
    "on_before_zero_grad",
    "optimizer_zero_grad",
    "on_before_backward",
    "backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "configure_gradient_clipping",
    "optimizer_step",
    "lr_scheduler_step",
    "on_train_batch_end",
)
"""The hooks of a module that Lightning calls at each batch."""


class LeanEpochLoop:
    """Lightning's loop over the batches of an epoch, with dal's callbacks as the only hooks.

    At each batch, Lightning calls about twenty hooks, most of which do nothing, and its profiler. This takes longer
    than an update of a small network. The order of what remains is that of Lightning.
    """

    trainer: Any
    batch_progress: Any
    automatic_optimization: Any
    update_lr_schedulers: Any
    _save_loggers_on_train_batch_end: Any
    _is_training_done: bool
    _batches_that_stepped: int

    def on_run_start(self, data_fetcher: Any) -> None:
        super().on_run_start(data_fetcher)  # type: ignore[misc]
        (loader,) = data_fetcher.combined_loader.flattened
        self._batches = iter(loader)

    def advance(self, data_fetcher: Any) -> None:
        trainer, batches = self.trainer, self.batch_progress
        module, (callback,), (optimizer,) = trainer.lightning_module, trainer.callbacks, trainer.optimizers
        batch, index, device = next(self._batches), batches.current.ready, trainer.strategy.root_device
        batches.is_last_batch = index + 1 == trainer.num_training_batches
        if any(values.device != device for values in batch):
            batch = trainer.strategy.batch_to_device(batch)
        batches.increment_ready()
        callback.on_train_batch_start(trainer, module, batch, index)
        batches.increment_started()
        loss = module.training_step(batch, index)
        optimizer.zero_grad()
        callback.on_before_backward(trainer, module, loss)
        loss.backward()
        optimizer.step()
        # Trainer.global_step is this count.
        self.automatic_optimization.optim_progress.optimizer.step.increment_by(1)
        batches.increment_processed()
        if trainer.lr_scheduler_configs:
            self.update_lr_schedulers("step", update_plateau_schedulers=False)
        callback.on_train_batch_end(trainer, module, {"loss": loss.detach()}, batch, index)
        batches.increment_completed()

    def on_advance_end(self, data_fetcher: Any) -> None:
        self._batches_that_stepped += 1
        self._save_loggers_on_train_batch_end()
        if self.trainer.received_sigterm and not self._is_training_done:
            raise load(f"{PYTORCH_LIGHTNING}.utilities.exceptions").SIGTERMException


def use_lean_loop(trainer: Any, module: Any) -> None:
    """Make a Trainer loop over batches with LeanEpochLoop if only dal looks at single batches.

    Modules and callbacks of users, and options such as clipping or a precision, need Lightning's own loop.
    """
    package = load(PYTORCH_LIGHTNING)
    plain = (
        (trainer.strategy, package.strategies.SingleDeviceStrategy),
        (trainer.precision_plugin, package.plugins.precision.Precision),
        (trainer.profiler, package.profilers.PassThroughProfiler),
    )
    is_plain = (
        not getattr(module, "logs_train_loss", True)
        and all(type(thing) is cls for thing, cls in plain)
        and [type(callback) for callback in trainer.callbacks] == [Together]
        and not trainer.gradient_clip_val
        and not trainer.limit_val_batches
        and not any(_defines(module, hook, package.LightningModule) for hook in _HOOKS)
        and package.__version__.startswith(_VERSIONS)
    )
    if is_plain:
        first = trainer.fit_loop.epoch_loop
        kind = in_package(LeanEpochLoop, "_TrainingEpochLoop", f"{PYTORCH_LIGHTNING}.loops.training_epoch_loop")
        trainer.fit_loop.epoch_loop = kind(trainer, first.min_steps, first.max_steps)


def _defines(module: Any, hook: str, base: type[Any]) -> bool:
    return hook in vars(module) or getattr(type(module), hook) is not getattr(base, hook)
