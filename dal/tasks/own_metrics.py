"""Metrics that a user adds to those of the task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torchmetrics import Metric

from dal.errors import bad_value
from dal.tasks.base import Task


class OwnMetrics:
    """Torchmetrics by name. Each takes logits and labels.

    Raises DalError if a metric is not a torchmetrics Metric, and if the task already uses its name.

    >>> import torch
    >>> from dal.tasks import CLASSIFICATION
    >>> from torchmetrics.classification import MulticlassF1Score
    >>> own = OwnMetrics({"f1": MulticlassF1Score(2)}, CLASSIFICATION)
    >>> own(torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1]))
    {'f1': 1.0}
    """

    def __init__(self, metrics: Mapping[str, Metric], task: Task) -> None:
        for name, metric in metrics.items():
            if not isinstance(metric, Metric):
                raise bad_value(f"metrics[{name!r}]", "a torchmetrics Metric", type(metric).__name__)
            if name in task.metric_names:
                raise bad_value("metrics", f"names other than {', '.join(task.metric_names)}", name)
        self.metrics = dict(metrics)

    def __call__(self, logits: Tensor, labels: Tensor) -> dict[str, Any]:
        """Return each metric as a number or a list.

        The arguments are (N, C) logits and N labels.
        """
        return {name: self._value(metric, logits, labels) for name, metric in self.metrics.items()}

    def _value(self, metric: Metric, logits: Tensor, labels: Tensor) -> Any:
        metric.reset()
        metric.update(logits, labels)
        value: Tensor = metric.compute()
        metric.reset()
        return value.item() if value.numel() == 1 else value.tolist()
