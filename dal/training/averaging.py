"""Averaging of the last weights of a round, which spares the updates that a falling learning rate would need."""

from __future__ import annotations

import math
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor


class WeightAverage(pl.Callback):
    """Leaves the module with the mean of its weights after each of the last updates (arXiv:1803.05407).

    ``share`` is that of ``max_updates`` which is averaged, at least the last update. The mean is taken over what was
    reached where training ends early. Statistics of BatchNorm are averaged like the weights; whole numbers stay.
    """

    def __init__(self, share: float, max_updates: int) -> None:
        self.first = max_updates - max(1, math.floor(share * max_updates)) + 1
        self.count, self._updates = 0, 0
        self._mean: dict[str, Tensor] = {}

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == self._updates:  # gradients are still being accumulated
            return
        self._updates = trainer.global_step
        if self._updates < self.first:
            return
        self.count += 1
        for name, value in pl_module.state_dict().items():
            if not value.is_floating_point():
                continue
            # Half precision has steps larger than what one update adds to a mean.
            exact = value.to(torch.promote_types(value.dtype, torch.float32), copy=True)
            if name in self._mean:
                self._mean[name].lerp_(exact, 1 / self.count)
            else:
                self._mean[name] = exact

    @torch.no_grad()
    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for name, value in pl_module.state_dict().items():
            if name in self._mean:
                value.copy_(self._mean[name])
        self._mean.clear()
