"""Counts the updates of a round, and ends a round without updates."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.hooks import RemovableHandle

MIN_IDLE = 100
"""Minimum number of batches without an update after which a round ends."""


class UpdateCount(pl.Callback):
    """Counts updates: batches after which the weights have changed.

    With automatic optimization, the count is Lightning's ``global_step``. With manual optimization, a batch counts once
    if any optimizer steps in it, even a step that Lightning does not see. Lightning's own count differs: two optimizers
    count a batch twice, and an optimizer that a module steps directly does not count.

    ``trains`` tells whether a step was for a parameter of the module, or the parameters have changed.

    The callback extends ``max_epochs`` while updates remain. It ends a round after ``max_updates`` batches, but at
    least 100, without an update.
    """

    def __init__(self, max_updates: int, accumulate: int = 1) -> None:
        self.max_updates = max_updates
        self.updates = self.batches = 0
        self.is_idle = self.trains = False
        self._most_idle = max(max_updates * accumulate, MIN_IDLE)
        self._idle, self._steps, self._batches = 0, 0, 0
        self._handle: RemovableHandle | None = None
        self._parameters: set[int] = set()
        self._sums: list[float] = []

    def __call__(self, trainer: pl.Trainer) -> int:
        return self.updates

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._parameters = {id(parameter) for parameter in pl_module.parameters()}
        self._sums = _sums(pl_module)
        self._handle = register_optimizer_step_post_hook(self._stepped)
        if not pl_module.automatic_optimization:
            # The module may turn to manual optimization in setup(), when the Trainer exists.
            trainer.fit_loop.epoch_loop.max_steps = -1

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._steps = 0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        before = self.updates
        self.batches, self._batches = self.batches + 1, self._batches + 1
        self.updates = trainer.global_step if pl_module.automatic_optimization else before + (self._steps > 0)
        self._watch(trainer, self.updates > before)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # A hook may skip all batches of an epoch, which then have no end.
        if not self._batches:
            self._watch(trainer, False)
        self._batches = 0
        last = trainer.max_epochs is not None and trainer.current_epoch + 1 >= trainer.max_epochs
        if last and self.updates < self.max_updates and not trainer.should_stop:
            trainer.fit_loop.max_epochs = trainer.current_epoch + 2

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # An optimizer may step copies of the parameters, such as those of a sharded model.
        self.trains = self.trains or _sums(pl_module) != self._sums

    def close(self) -> None:
        """Stop watching optimizers."""
        if self._handle is not None:
            self._handle.remove()
            self._handle = None

    def _stepped(self, optimizer: Any, *args: Any) -> None:
        self._steps += 1
        if not self.trains:
            stepped = (p for group in optimizer.param_groups for p in group["params"] if p.grad is not None)
            self.trains = any(id(parameter) in self._parameters for parameter in stepped)

    def _watch(self, trainer: pl.Trainer, moved: bool) -> None:
        self._idle = 0 if moved else self._idle + 1
        if self._idle >= self._most_idle:
            self.is_idle = True
            trainer.should_stop = True


def _sums(module: pl.LightningModule) -> list[float]:
    return [float(parameter.detach().double().sum()) for parameter in module.parameters()]
