"""Classification: one class per image."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error, multiclass_confusion_matrix

from dal.errors import DalError, bad_content, bad_value
from dal.tasks.base import OUT_OF_CLASS, UNKNOWN, Metrics


@dataclass(frozen=True)
class Classification:
    """Labels are (N,) int64 class numbers, -1 (UNKNOWN) or -2 (OUT_OF_CLASS).

    >>> CLASSIFICATION.metrics(torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0])).accuracy
    0.5
    """

    name: str = "classification"
    primary_metric: str = "accuracy"
    metric_names: tuple[str, ...] = (
        *("accuracy", "loss", "balanced_accuracy", "calibration_error", "recall", "confusion_matrix"),
    )
    rule_metrics: tuple[str, ...] = ("accuracy", "balanced_accuracy")

    @property
    def is_dense(self) -> bool:
        return False

    def check(self, labels: Tensor, num_points: int, num_classes: int) -> None:
        if labels.shape != (num_points,) or labels.dtype != torch.int64:
            raise bad_content("labels", f"int64 ({num_points},)", f"{labels.dtype} {tuple(labels.shape)}")
        wrong = (labels < OUT_OF_CLASS) | (labels >= num_classes)
        if bool(wrong.any()):
            expected = f"class numbers from 0 to {num_classes - 1}, -1 for unknown, or -2 for none of them"
            raise bad_value("labels", expected, int(labels[wrong][0]))

    def unlabeled(self, num_points: int, num_classes: int) -> Tensor:
        return torch.full((num_points,), UNKNOWN, dtype=torch.int64)

    def encode(self, answers: Sequence[Any], num_classes: int) -> Tensor:
        values = [whole_number("labels", answer) for answer in answers]
        for place, value in enumerate(values):
            if not 0 <= value < num_classes and value != OUT_OF_CLASS:
                expected = f"a class from 0 to {num_classes - 1}, or {OUT_OF_CLASS} for none of them"
                raise NotALabelError(expected, value, place)
        return torch.tensor(values, dtype=torch.int64)

    def decode(self, labels: Tensor) -> list[Any]:
        answers: list[Any] = labels.tolist()
        return answers

    def known(self, labels: Tensor) -> Tensor:
        return labels >= 0

    def answerable(self, labels: Tensor) -> Tensor:
        return labels != UNKNOWN

    def trainable(self, labels: Tensor) -> Tensor:
        return labels >= 0

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels)

    def value(self, logits: Tensor, labels: Tensor) -> float:
        return float((logits.argmax(dim=1) == labels).double().mean())

    def metrics(self, logits: Tensor, labels: Tensor) -> Metrics:
        """Return accuracy, loss, calibration error, recall per class and confusion matrix.

        The calibration error is the expected calibration error with 15 bins (arXiv:1706.04599). The recall of a class
        without points is None. Rows of the confusion matrix are true classes, columns are predicted classes.
        """
        num_classes = logits.shape[1]
        confusion = multiclass_confusion_matrix(logits, labels, num_classes)
        # torchmetrics guesses from the values whether they are logits, so it gets probabilities. They stay below 1,
        # because it would put a confidence of 1 in a separate bin.
        probs = logits.double().softmax(dim=1).clamp(max=1 - 2**-24)
        recall = (confusion.diag().double() / confusion.sum(dim=1)).tolist()
        defined = [r for r in recall if not math.isnan(r)]
        return Metrics(
            accuracy=float(confusion.diag().sum().double() / confusion.sum()),
            loss=float(F.cross_entropy(logits.double(), labels)),
            balanced_accuracy=sum(defined) / len(defined),
            calibration_error=float(multiclass_calibration_error(probs, labels, num_classes, n_bins=15)),
            recall=[None if math.isnan(r) else r for r in recall],
            confusion_matrix=confusion.tolist(),
        )

    def predictions(self, logits: Tensor) -> list[Any]:
        classes: list[Any] = logits.argmax(dim=1).tolist()
        return classes

    def uncertainty(self, logits: Tensor) -> float:
        log_probs = logits.double().log_softmax(dim=1)
        entropy = torch.special.entr(log_probs.exp()).sum(dim=1).mean()
        return float(entropy) / math.log(logits.shape[1])

    def check_acquisition(self, acquisition: Any) -> None:
        check_tasks(acquisition, self.name)


CLASSIFICATION = Classification()


class NotALabelError(DalError):
    """Raised for an invalid answer; ``place`` is its position among the answers."""

    def __init__(self, expected: str, got: object, place: int) -> None:
        super().__init__(f"labels: expected {expected}, got {got!r}.")
        self.expected, self.got, self.place = expected, got, place


def whole_number(argument: str, value: object) -> int:
    """Return a whole number as an int; raise DalError for other values."""
    try:
        # int() would accept 1.7 and text.
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise bad_value(argument, "whole numbers", value) from None


def check_tasks(acquisition: Any, name: str) -> None:
    """Raise DalError unless the ``tasks`` of the acquisition function include the task."""
    if acquisition.tasks is not None and name not in acquisition.tasks:
        expected = f"a function that works with {name.replace('_', '-')} data, such as random or coreset"
        raise bad_value("acquisition", expected, acquisition.name)
