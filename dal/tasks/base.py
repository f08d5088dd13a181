"""The interface of a task: what a label is.

Data, pool, training, testing and stopping rules handle labels only through a task. In shapes, N is the number of points
and C the number of classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor

UNKNOWN = -1
"""The label of a point with an unknown label."""

OUT_OF_CLASS = -2
"""The label of a point of none of the classes. Such a label costs as much as others, and training ignores it."""


class Metrics(dict[str, Any]):
    """Metrics by name, also available as attributes.

    >>> Metrics(accuracy=0.5).accuracy, Metrics(accuracy=0.5).row("test")
    (0.5, {'test_accuracy': 0.5})
    """

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"no metric {name!r}, only {', '.join(self)}") from None

    def row(self, split: str) -> dict[str, Any]:
        """Return the metrics under journal keys, such as ``test_accuracy``."""
        return {f"{split}_{name}": value for name, value in self.items()}


class Task(Protocol):
    """Everything that depends on what a label is."""

    @property
    def name(self) -> str:
        """Name in error messages and records."""
        ...

    @property
    def primary_metric(self) -> str:
        """Key of metrics() that training, rules and reports follow.

        Its values are from 0 to 1, and higher is better.
        """
        ...

    @property
    def metric_names(self) -> Sequence[str]:
        """Keys of metrics()."""
        ...

    @property
    def rule_metrics(self) -> Sequence[str]:
        """Test metrics that campaign.target_metric can name."""
        ...

    @property
    def is_dense(self) -> bool:
        """Whether a network has outputs (B, C, h, w), at the sites of a grid over the image."""
        ...

    def check(self, labels: Tensor, num_points: int, num_classes: int) -> None:
        """Raise DalError unless ``labels`` are valid labels of this task."""
        ...

    def unlabeled(self, num_points: int, num_classes: int) -> Tensor:
        """Return labels of ``num_points`` points that are all unknown."""
        ...

    def encode(self, answers: Sequence[Any], num_classes: int) -> Tensor:
        """Convert answers of an oracle to labels.

        Raises DalError with the first invalid answer.
        """
        ...

    def decode(self, labels: Tensor) -> list[Any]:
        """Convert labels to answers of an oracle."""
        ...

    def known(self, labels: Tensor) -> Tensor:
        """Return (N,) bool: whether testing can use the label."""
        ...

    def answerable(self, labels: Tensor) -> Tensor:
        """Return (N,) bool: whether an oracle with these labels can answer."""
        ...

    def trainable(self, labels: Tensor) -> Tensor:
        """Return (N,) bool: whether training can use the label."""
        ...

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss in nats, a scalar with gradients."""
        ...

    def value(self, logits: Tensor, labels: Tensor) -> float:
        """Return the primary metric."""
        ...

    def metrics(self, logits: Tensor, labels: Tensor) -> Metrics:
        """Return all metrics by name."""
        ...

    def predictions(self, logits: Tensor) -> list[Any]:
        """Return a prediction per point, for stopping rules."""
        ...

    def uncertainty(self, logits: Tensor) -> float:
        """Return the mean entropy relative to its maximum, from 0 to 1."""
        ...

    def check_acquisition(self, acquisition: Any) -> None:
        """Raise DalError unless the acquisition function supports this task."""
        ...
