"""Detects weights that callbacks or hooks set at the end of training."""

from __future__ import annotations

import pytorch_lightning as pl
import torch
from torch import Tensor


class KeptWeights(pl.Callback):
    """Saves the final weights before callbacks and hooks change them.

    At this time, callbacks such as Lightning's WeightAveraging set averaged weights, which the round keeps. This
    callback must precede the user's callbacks.
    """

    def __init__(self) -> None:
        self._before: dict[str, Tensor] = {}

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._before = {name: value.detach().clone() for name, value in pl_module.state_dict().items()}

    def are_replaced(self, module: torch.nn.Module) -> bool:
        """Return whether the module has other weights now, or weights with other names, as after pruning."""
        now = module.state_dict()
        if not self._before:
            return False
        return now.keys() != self._before.keys() or any(not _equal(v, now[name]) for name, v in self._before.items())


def _equal(a: Tensor, b: Tensor) -> bool:
    a, b = a.cpu(), b.cpu()
    # Two NaNs are the same weight.
    return torch.equal(a, b) or (a.is_floating_point() and torch.equal(a.nan_to_num(), b.nan_to_num()))
