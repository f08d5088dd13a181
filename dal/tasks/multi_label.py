"""Multi-label classification: one sigmoid per class."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.functional.classification import multilabel_average_precision, multilabel_f1_score

from dal.errors import bad_content, bad_value
from dal.tasks.base import UNKNOWN, Metrics
from dal.tasks.classification import NotALabelError, check_tasks, whole_number


@dataclass(frozen=True)
class MultiLabel:
    """Labels are (N, C) int64 rows of 0 and 1.

    A label is 1 if the class applies and 0 if not. Rows of unknown labels are -1. An answer is a tuple of class
    numbers. An empty tuple means that no class applies.

    >>> MULTI_LABEL.encode([(2, 0), ()], num_classes=3)
    tensor([[1, 0, 1],
            [0, 0, 0]])
    """

    name: str = "multi_label"
    primary_metric: str = "mean_average_precision"
    metric_names: tuple[str, ...] = (*("mean_average_precision", "loss", "f1", "label_accuracy", "average_precision"),)
    rule_metrics: tuple[str, ...] = ("mean_average_precision", "f1", "label_accuracy")

    @property
    def is_dense(self) -> bool:
        return False

    def check(self, labels: Tensor, num_points: int, num_classes: int) -> None:
        expected = (num_points, num_classes)
        if tuple(labels.shape) != expected or labels.dtype != torch.int64:
            raise bad_content("labels", f"int64 {expected}", f"{labels.dtype} {tuple(labels.shape)}")
        unknown = (labels == UNKNOWN).all(dim=1)
        wrong = ~((labels == 0) | (labels == 1)).all(dim=1) & ~unknown
        if bool(wrong.any()):
            expected_row = "rows of 0 and 1, or of -1 for unknown labels"
            raise bad_value("labels", expected_row, labels[wrong][0].tolist())

    def unlabeled(self, num_points: int, num_classes: int) -> Tensor:
        return torch.full((num_points, num_classes), UNKNOWN, dtype=torch.int64)

    def encode(self, answers: Sequence[Any], num_classes: int) -> Tensor:
        labels = torch.zeros(len(answers), num_classes, dtype=torch.int64)
        for row, answer in enumerate(answers):
            if not isinstance(answer, tuple | list):
                raise NotALabelError("a tuple of class numbers", answer, row)
            for number in answer:
                if not 0 <= whole_number("labels", number) < num_classes:
                    raise NotALabelError(f"classes from 0 to {num_classes - 1}", number, row)
                labels[row, number] = 1
        return labels

    def decode(self, labels: Tensor) -> list[Any]:
        return [tuple(row.nonzero().flatten().tolist()) for row in labels == 1]

    def known(self, labels: Tensor) -> Tensor:
        return (labels != UNKNOWN).all(dim=1)

    def answerable(self, labels: Tensor) -> Tensor:
        return self.known(labels)

    def trainable(self, labels: Tensor) -> Tensor:
        return self.known(labels)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))

    def value(self, logits: Tensor, labels: Tensor) -> float:
        return float(self.metrics(logits, labels)[self.primary_metric])

    def metrics(self, logits: Tensor, labels: Tensor) -> Metrics:
        """Return (mean) average precision, loss, F1 and label accuracy.

        The mean is over classes with a positive point, and 0 if no class has one. F1 (micro-averaged) and label
        accuracy use a threshold of 0.5.
        """
        num_classes = logits.shape[1]
        probs = logits.double().sigmoid()
        seen = labels.sum(dim=0) > 0
        precision = multilabel_average_precision(probs, labels, num_classes, average="none")
        correct = (logits > 0) == (labels == 1)
        return Metrics(
            mean_average_precision=float(precision[seen].double().mean()) if bool(seen.any()) else 0.0,
            loss=float(F.binary_cross_entropy_with_logits(logits.double(), labels.double())),
            f1=float(multilabel_f1_score(probs, labels, num_classes, average="micro")),
            label_accuracy=float(correct.double().mean()),
            average_precision=[float(p) if s else None for p, s in zip(precision, seen, strict=True)],
        )

    def predictions(self, logits: Tensor) -> list[Any]:
        """Return a number per point that identifies its set of classes.

        The number holds the bits of up to 62 classes, or a digest of more.
        """
        bits = ["".join("1" if yes else "0" for yes in row) for row in (logits > 0).tolist()]
        if logits.shape[1] <= 62:
            return [int(row, 2) for row in bits]
        return [int.from_bytes(hashlib.blake2b(row.encode(), digest_size=7).digest()) for row in bits]

    def uncertainty(self, logits: Tensor) -> float:
        probs = logits.double().sigmoid()
        entropy = torch.special.entr(probs) + torch.special.entr(1 - probs)
        return float(entropy.mean()) / math.log(2)

    def check_acquisition(self, acquisition: Any) -> None:
        check_tasks(acquisition, self.name)


MULTI_LABEL = MultiLabel()
