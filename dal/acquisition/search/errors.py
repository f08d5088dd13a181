"""Errors of predictions: the gradients of the loss in the logits, as rows."""

from __future__ import annotations

import torch
from torch import Tensor

from dal.acquisition.search.rows import Rows, RowView, all_rows, check_rows
from dal.acquisition.search.shards import Shard

_FEW_NUMBERS = 2**22


def _errors(probs: Tensor) -> Tensor:
    """Return (B, C) p - onehot(argmax p), in float32 or more precise."""
    found = probs.clone() if probs.dtype in (torch.float32, torch.float64) else probs.float()
    predicted = found.argmax(dim=1, keepdim=True)
    return found.scatter_add_(1, predicted, found.new_full(predicted.shape, -1))


def errors_of(probs: Rows, device: torch.device) -> Rows:
    """Return the errors of probabilities: computed now if few, otherwise on read."""
    few = isinstance(probs, Tensor) and probs.numel() <= _FEW_NUMBERS
    return _errors(all_rows(probs).to(device)) if few else _Errors(probs, device)


class _Errors(RowView):
    """The errors of probabilities, computed as rows are read."""

    def __init__(self, probs: Rows, device: torch.device) -> None:
        super().__init__(len(probs), probs.shape[1], torch.promote_types(probs.dtype, torch.float32), device)
        self._probs = probs

    def __getitem__(self, rows: slice | Tensor) -> Tensor:
        return _errors(self._probs[rows].to(self.device))


class Scattered(RowView):
    """The errors of all classes, from those of the kept classes."""

    def __init__(self, errors: Rows, classes: Rows, shard: Shard) -> None:
        num_classes = int(shard.largest(check_rows("classes", classes))) + 1
        super().__init__(len(errors), num_classes, torch.float32, errors.device)
        self._errors, self._classes = errors, classes

    def __getitem__(self, rows: slice | Tensor) -> Tensor:
        values = self._errors[rows]
        return values.new_zeros(len(values), self.shape[1]).scatter_(1, self._classes[rows].long(), values)
