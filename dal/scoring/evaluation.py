"""Test metrics of a model on labeled points, by torchmetrics, from logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor
from torchmetrics.functional.classification import (
    multiclass_calibration_error,
    multiclass_confusion_matrix,
)

from dal.data.images import ImageData


@dataclass(frozen=True)
class Metrics:
    """What a model does on labeled points. Recall of a class without points is NaN; rows of the confusion matrix are
    true classes, columns predicted ones."""

    accuracy: float
    loss: float  # mean cross-entropy, nats
    calibration_error: float  # expected, 15 bins (arXiv:1706.04599)
    recall: list[float]
    confusion_matrix: list[list[int]]

    def row(self, split: str) -> dict[str, Any]:
        """Keys such as ``test_accuracy``, ready for the journal; a recall that is not defined is None."""
        known = [r for r in self.recall if r == r]
        return {
            f"{split}_accuracy": self.accuracy,
            f"{split}_loss": self.loss,
            f"{split}_balanced_accuracy": sum(known) / len(known),
            f"{split}_calibration_error": self.calibration_error,
            f"{split}_recall": [r if r == r else None for r in self.recall],
            f"{split}_confusion_matrix": self.confusion_matrix,
        }


def metrics_from_logits(logits: Tensor, labels: Tensor) -> Metrics:
    """Metrics of (N, C) logits against (N,) int64 labels.

    >>> metrics_from_logits(torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0])).accuracy
    0.5
    """
    num_classes = logits.shape[1]
    confusion = multiclass_confusion_matrix(logits, labels, num_classes)
    # Of probabilities, as torchmetrics guesses from the values whether it got logits; and short of 1, as it would give
    # a confidence of 1 a bin of its own.
    probs = logits.double().softmax(dim=1).clamp(max=1 - 2**-24)
    recall = confusion.diag().double() / confusion.sum(dim=1)
    return Metrics(
        accuracy=float(confusion.diag().sum().double() / confusion.sum()),
        loss=float(F.cross_entropy(logits.double(), labels)),
        calibration_error=float(multiclass_calibration_error(probs, labels, num_classes, n_bins=15)),
        recall=recall.tolist(),
        confusion_matrix=confusion.tolist(),
    )


def known_indices(data: ImageData) -> Tensor:
    """(M,) int64 positions of the points whose label is known."""
    return (data.labels >= 0).nonzero().flatten()
