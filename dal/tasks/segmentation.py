"""Segmentation: one class per pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dal.errors import bad_content, bad_value
from dal.tasks.base import UNKNOWN, Metrics
from dal.tasks.classification import CLASSIFICATION, NotALabelError, whole_number
from dal.tasks.mask_tally import IGNORED, MaskTally, sum_of_losses

__all__ = ["IGNORED", "SEGMENTATION", "Segmentation"]

_POOLED = {"features", "scores", "num_classes"}
"""The tensors of a summary that can be pooled from pixels to units."""


@dataclass(frozen=True)
class Segmentation:
    """Labels are (N,) int64: 0 for an image or region with a mask, -1 (UNKNOWN) for one without.

    The masks are in the data. They are (B, H, W) class numbers, and 255 (IGNORED) for pixels that loss and metrics
    leave out. A network has logits (B, C, h, w), which are upsampled to the masks. The metric ``miou`` is the mean IoU
    of the classes that are present in the masks.

    >>> logits = torch.tensor([[[[2.0, 0.0, 0.0]], [[0.0, 1.0, 1.0]]]])
    >>> SEGMENTATION.metrics(logits, torch.tensor([[[0, 0, 255]]], dtype=torch.uint8)).miou
    0.5
    """

    name: str = "segmentation"
    primary_metric: str = "miou"
    metric_names: tuple[str, ...] = ("miou", "iou", "pixel_accuracy", "loss", "confusion_matrix")
    rule_metrics: tuple[str, ...] = ("miou", "pixel_accuracy")

    @property
    def is_dense(self) -> bool:
        return True

    @property
    def labels_in_words(self) -> str:
        return "masks"

    def check(self, labels: Tensor, num_points: int, num_classes: int) -> None:
        if labels.shape != (num_points,) or labels.dtype != torch.int64:
            raise bad_content("labels", f"int64 ({num_points},)", f"{labels.dtype} {tuple(labels.shape)}")
        wrong = (labels != 0) & (labels != UNKNOWN)
        if bool(wrong.any()):
            raise bad_value("labels", "0 for a mask, or -1 for none", int(labels[wrong][0]))
        if num_classes > IGNORED:
            raise bad_value("classes", f"at most {IGNORED} classes", num_classes)

    def unlabeled(self, num_points: int, num_classes: int) -> Tensor:
        return torch.full((num_points,), UNKNOWN, dtype=torch.int64)

    def encode(self, answers: Sequence[Any], num_classes: int) -> Tensor:
        for place, answer in enumerate(answers):
            if whole_number("labels", answer) != 0:
                raise NotALabelError("0, which says that the mask is in the data", answer, place)
        return torch.zeros(len(answers), dtype=torch.int64)

    def decode(self, labels: Tensor) -> list[Any]:
        answers: list[Any] = labels.tolist()
        return answers

    def known(self, labels: Tensor) -> Tensor:
        return labels == 0

    def answerable(self, labels: Tensor) -> Tensor:
        return labels == 0

    def trainable(self, labels: Tensor) -> Tensor:
        return labels == 0

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean cross-entropy of the pixels of a class, 0 without such pixels."""
        return sum_of_losses(logits, labels) / (labels != IGNORED).sum().clamp(min=1)

    def value(self, logits: Tensor, labels: Tensor) -> float:
        return float(self.metrics(logits, labels)[self.primary_metric])

    def metrics(self, logits: Tensor, labels: Tensor) -> Metrics:
        """Return the metrics of a few images.

        For many images, add batches to a MaskTally.
        """
        tally = MaskTally(logits.shape[1])
        return tally.metrics(**tally.update(logits, labels))

    def predictions(self, logits: Tensor) -> list[Any]:
        """Return the predicted class of each of the (P, C) rows, which are pixels."""
        return CLASSIFICATION.predictions(logits)

    def uncertainty(self, logits: Tensor) -> float:
        return CLASSIFICATION.uncertainty(logits)

    def check_acquisition(self, acquisition: Any) -> None:
        """Raise DalError unless what the function keeps of pixels can be pooled to units."""
        if acquisition.tasks is None or self.name in acquisition.tasks:
            return
        if not set(acquisition.keeps) <= _POOLED or acquisition.learns_from_labels or acquisition.uses_target_points:
            expected = "a function whose scores or features of pixels can be pooled, such as entropy, bald or coreset"
            raise bad_value("acquisition", f"{expected}, with segmentation data", acquisition.name)


SEGMENTATION = Segmentation()
