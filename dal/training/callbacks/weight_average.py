"""Averages the last weights of a round instead of learning-rate decay."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from dal.training.callbacks.kept_weights import KeptWeights


class WeightAverage(pl.Callback):
    """Sets the module's weights to their mean over the last updates (arXiv:1803.05407).

    The mean covers the last ``share`` of ``max_updates``, and at least one update. If training ends early, it covers
    the updates reached. BatchNorm statistics are averaged like weights. Integers are not averaged.
    """

    def __init__(
        self,
        share: float,
        max_updates: int,
        count: Callable[[pl.Trainer], int] = lambda trainer: trainer.global_step,
        kept: KeptWeights | None = None,
    ) -> None:
        self.count_updates, self.kept = count, kept
        self.first = max_updates - max(1, math.floor(share * max_updates)) + 1
        self.count, self._updates = 0, 0
        self._weights: list[Tensor] = []
        self._mean: list[Tensor] = []
        self._is_coarse = False

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        updates = self.count_updates(trainer)
        if updates == self._updates:  # gradients are still being accumulated
            return
        self._updates = updates
        if self._updates < self.first:
            return
        if not self._mean:
            self._weights = [value for value in pl_module.state_dict().values() if value.is_floating_point()]
            # Half precision is too coarse for the change that one update makes to a mean.
            self._is_coarse = any(w.dtype != torch.promote_types(w.dtype, torch.float32) for w in self._weights)
            self._mean = [w.to(torch.promote_types(w.dtype, torch.float32), copy=True) for w in self._weights]
        self.count += 1
        # One call for all tensors, because separate calls dominate the time of a small network.
        weights = [w.to(m.dtype) for w, m in self._pairs()] if self._is_coarse else self._weights
        torch._foreach_lerp_(self._mean, weights, 1 / self.count)

    @torch.no_grad()
    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.kept is not None and self.kept.are_replaced(pl_module):
            warnings.warn(
                "training.average: a callback or hook has set other weights at the end of training. They are kept "
                "instead of the average.",
                stacklevel=2,
            )
        else:
            for weight, mean in self._pairs():
                weight.copy_(mean)
            if self.kept is not None:
                self.kept.on_train_end(trainer, pl_module)
        self._weights, self._mean = [], []

    def _pairs(self) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(self._weights, self._mean, strict=True)
