"""Early stopping, counted in optimizer updates."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from dal.errors import NonFiniteError
from dal.training.config import TrainingConfig

Check = Callable[[], tuple[float, float]]
"""Evaluates the current model and returns (accuracy, loss)."""


class UpdateStopping(pl.Callback):
    """Evaluates the model regularly, keeps the best weights, and stops training."""

    def __init__(
        self,
        config: TrainingConfig,
        monitor: str,
        max_updates: int,
        check: Check,
        on_update: Callable[[int], None],
        metric: str = "accuracy",
        count: Callable[[pl.Trainer], int] = lambda trainer: trainer.global_step,
    ) -> None:
        self.config, self.monitor, self.max_updates = config, monitor, max_updates
        self.check, self.on_update, self.metric, self.count = check, on_update, metric, count
        self.updates = 0
        self.reason: str | None = None
        """Why training stops: no_improvement, train_accuracy_reached, max_updates, no_update (batches no longer lead to
        updates), or trainer (its options or callbacks)."""
        self.best: tuple[float, float] | None = None
        self.best_update = 0
        self.best_state: dict[str, Tensor] | None = None
        self.history: list[dict[str, float]] = []

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        updates = self.count(trainer)
        if updates == self.updates:  # gradients are still being accumulated
            return
        self.updates = updates
        self.on_update(self.updates)
        if self.monitor == "none":
            self.best_update = self.updates
            self.reason = "max_updates" if self.updates >= self.max_updates else None
        elif self.updates % self.config.check_every == 0 or self.updates >= self.max_updates:
            self._look(pl_module)
        if self.reason is not None:
            trainer.should_stop = True

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # _look handles max_updates. Any other stop is due to the user's Trainer options or callbacks.
        self.reason = self.reason or "trainer"

    def keep(self, value: tuple[float, float]) -> None:
        """Record the accuracy and loss of weights that replace the best ones."""
        self.best_update = self.updates
        self.history = [look for look in self.history if look["update"] < self.updates]
        self.history.append({"update": self.updates, self.metric: value[0], "loss": value[1]})

    def _look(self, module: pl.LightningModule) -> None:
        accuracy, loss = self.check()
        self.history.append({"update": self.updates, self.metric: accuracy, "loss": loss})
        # The loss breaks ties in accuracy, which are frequent on small sets.
        value = (-loss, accuracy) if self.monitor == "val_loss" else (accuracy, -loss)
        if self.best is None or value > self.best:
            self.best, self.best_update = value, self.updates
            self.best_state = {k: v.detach().to("cpu", copy=True) for k, v in module.state_dict().items()}
        if self.updates >= self.max_updates:
            self.reason = "max_updates"
        elif self.updates >= self.config.min_updates:
            if self.monitor == "train_accuracy" and accuracy >= self.config.target_train_accuracy:
                self.reason = "train_accuracy_reached"
            elif self.updates - self.best_update >= self.config.patience:
                self.reason = "no_improvement"


class FiniteLoss(pl.Callback):
    """Stops training at a non-finite loss, before gradients or weights change."""

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor) -> None:
        # For a number, this is many times as fast as an operation on the tensor.
        finite = math.isfinite(loss.item()) if loss.numel() == 1 else bool(torch.isfinite(loss).all())
        if not finite:
            raise NonFiniteError(
                f"loss: expected a finite number, got {loss.item()} at update {trainer.global_step}. The weights are "
                "those of the previous update. Try a lower learning rate or trainer.gradient_clip_val."
            )
