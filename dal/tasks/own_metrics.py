"""Metrics that a user adds to those of the task."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from dal.errors import DalError, bad_value
from dal.tasks.base import Task

_NAME = re.compile(r"[^\W_][\w.@-]*")
_SPLITS = ("test_", "val_", "train_", "stop_")  # prefixes of journal keys
_TRIED_POINTS = 64


class OwnMetrics:
    """Torchmetrics by name. Each takes logits and labels.

    Each metric is tried on a few made-up points. Raises DalError if a metric is not a torchmetrics Metric or does not
    take outputs of ``num_classes`` classes, and for a name that the journal cannot hold or that the task uses.

    >>> import torch
    >>> from dal.tasks import CLASSIFICATION
    >>> from torchmetrics.classification import MulticlassF1Score
    >>> own = OwnMetrics({"f1": MulticlassF1Score(2)}, CLASSIFICATION, num_classes=2)
    >>> own(torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1]))
    {'f1': 1.0}
    """

    def __init__(self, metrics: Mapping[str, Metric], task: Task, num_classes: int) -> None:
        if not isinstance(metrics, Mapping):
            raise bad_value("metrics", 'a dict of torchmetrics by name, such as {"f1": metric}', type(metrics).__name__)
        for name, metric in metrics.items():
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                raise bad_value("metrics", "names of letters, digits and _, such as f1", name)
            if name.startswith(_SPLITS):
                raise bad_value("metrics", f"names that do not start with {' or '.join(_SPLITS)}", name)
            if not isinstance(metric, Metric):
                raise bad_value(f"metrics[{name!r}]", "a torchmetrics Metric", type(metric).__name__)
            if name in task.metric_names:
                raise bad_value("metrics", f"names other than {', '.join(task.metric_names)}", name)
        self.metrics = dict(metrics)
        self.numbers = self._tried(task, num_classes)
        """The names of the metrics that are single numbers, which campaign.target_metric can name."""

    def __call__(self, logits: Tensor, labels: Tensor) -> dict[str, Any]:
        """Return each metric as a number or a list.

        The arguments are (N, C) logits and N labels.
        """
        return {name: self._value(name, logits, labels) for name in self.metrics}

    def _tried(self, task: Task, num_classes: int) -> list[str]:
        # As many points as classes would hide a metric that mistakes one for the other.
        num_points = num_classes + 1 if num_classes < _TRIED_POINTS else _TRIED_POINTS - 1
        classes = torch.linspace(0, num_classes - 1, num_points).long()
        logits = torch.nn.functional.one_hot(classes, num_classes).float()
        single = task.unlabeled(1, num_classes).ndim == 1
        labels = classes if single else logits.long()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what made-up points lack
            found = self(logits, labels)
        return [name for name, value in found.items() if not isinstance(value, list)]

    def reset(self) -> None:
        """Forget what update() has added."""
        for metric in self.metrics.values():
            metric.reset()

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Add a batch, for computed()."""
        for name, metric in self.metrics.items():
            with self._said(name, logits.shape[1]):
                metric.to(logits.device).update(logits, labels)

    def computed(self) -> dict[str, Any]:
        """Return each metric of the batches since reset() as a number or a list, and forget them."""
        found = {}
        for name, metric in self.metrics.items():
            with self._said(name):
                found[name] = self._plain(name, metric.compute())
            metric.reset()
        return found

    def _value(self, name: str, logits: Tensor, labels: Tensor) -> Any:
        metric = self.metrics[name]
        metric.reset()
        try:
            with self._said(name, logits.shape[1]):
                metric.update(logits, labels)
                value = metric.compute()
        finally:
            metric.reset()
        return self._plain(name, value)

    @contextmanager
    def _said(self, name: str, num_classes: int | None = None) -> Iterator[None]:
        """Raise DalError for an error of a metric."""
        try:
            yield
        except Exception as error:
            said = next(iter(str(error).splitlines()), "") or type(error).__name__
            of = "" if num_classes is None else f" of {num_classes} classes"
            raise DalError(
                f"metrics[{name!r}]: expected a metric{of} that takes logits and labels, got an error of "
                f"{type(self.metrics[name]).__name__}: {said.rstrip('.')}."
            ) from error

    def _plain(self, name: str, value: Any) -> Any:
        if not isinstance(value, Tensor):
            raise bad_value(f"metrics[{name!r}]", "a metric whose value is a tensor", type(value).__name__)
        return value.item() if value.numel() == 1 else value.tolist()
