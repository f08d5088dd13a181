"""Segmentation: one class per pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dal.errors import bad_content, bad_value
from dal.tasks.base import UNKNOWN, Metrics
from dal.tasks.classification import check_tasks

IGNORED = 255
"""The class of pixels that loss, score and metrics leave out."""


@dataclass(frozen=True)
class Segmentation:
    """Labels are (N,) int64: 0 for an image with a mask, -1 (UNKNOWN) for one without."""

    name: str = "segmentation"
    primary_metric: str = "miou"
    metric_names: tuple[str, ...] = ("miou", "iou", "pixel_accuracy", "loss", "confusion_matrix")
    rule_metrics: tuple[str, ...] = ("miou", "pixel_accuracy")

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
        return torch.tensor(list(answers), dtype=torch.int64)

    def decode(self, labels: Tensor) -> list[Any]:
        answers: list[Any] = labels.tolist()
        return answers

    def known(self, labels: Tensor) -> Tensor:
        return labels >= 0

    def answerable(self, labels: Tensor) -> Tensor:
        return labels >= 0

    def trainable(self, labels: Tensor) -> Tensor:
        return labels >= 0

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels.long(), ignore_index=IGNORED)

    def value(self, logits: Tensor, labels: Tensor) -> float:
        return float(self.metrics(logits, labels)[self.primary_metric])

    def metrics(self, logits: Tensor, labels: Tensor) -> Metrics:
        kept = labels != IGNORED
        return Metrics(pixel_accuracy=float((logits.argmax(dim=1) == labels)[kept].double().mean()))

    def predictions(self, logits: Tensor) -> list[Any]:
        return list(logits.argmax(dim=1))

    def uncertainty(self, logits: Tensor) -> float:
        return float(torch.special.entr(logits.softmax(dim=1)).sum(dim=1).mean())

    def check_acquisition(self, acquisition: Any) -> None:
        check_tasks(acquisition, self.name)


SEGMENTATION = Segmentation()
