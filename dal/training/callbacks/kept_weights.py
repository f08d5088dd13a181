"""Detects weights that callbacks or hooks set at the end of training."""

from __future__ import annotations

import warnings
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel


class KeptWeights(pl.Callback):
    """Saves the final weights before callbacks and hooks change them.

    At this time, callbacks such as Lightning's WeightAveraging set averaged weights, which the round keeps. This
    callback must precede the user's callbacks.
    """

    def __init__(self) -> None:
        self._before: dict[str, Tensor] = {}

    def on_train_end(self, trainer: Any, pl_module: pl.LightningModule) -> None:
        self._before = {name: value.detach().clone() for name, value in pl_module.state_dict().items()}
        for callback in trainer.callbacks:
            average = getattr(callback, "_average_model", None)
            if average is not None and _is_empty(callback, average):
                _fill(callback, average, pl_module)
                warnings.warn(
                    f"trainer.callbacks: {type(callback).__name__} starts after the {trainer.current_epoch} epochs of "
                    "the round, so it averages no weights. The round keeps its own.",
                    stacklevel=2,
                )

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


def _is_empty(callback: Any, average: Any) -> bool:
    """Return whether an average has no weights yet, and therefore still has the initial ones."""
    if isinstance(average, AveragedModel):
        return not int(average.n_averaged)
    # StochasticWeightAveraging counts only from its first epoch on.
    return hasattr(callback, "transfer_weights") and not callback.n_averaged


def _fill(callback: Any, average: Any, module: torch.nn.Module) -> None:
    """Set an empty average to the weights of the module, because its callback is about to copy it to the module."""
    if isinstance(average, AveragedModel):
        average.update_parameters(module)
    else:
        callback.transfer_weights(module, average)
