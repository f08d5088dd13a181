"""The interface of a task: what a label is.

Data, pool, training, testing and stopping rules know labels through a task only. Shapes in the names: N points,
C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor

UNKNOWN = -1
"""The label of a point whose label is not known."""

OUT_OF_CLASS = -2
"""The label of a point of none of the classes. It costs as much as a class and teaches nothing."""


class Metrics(dict[str, Any]):
    """Metrics by name, which are attributes too.

    >>> Metrics(accuracy=0.5).accuracy, Metrics(accuracy=0.5).row("test")
    (0.5, {'test_accuracy': 0.5})
    """

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"no metric {name!r}, only {', '.join(self)}") from None

    def row(self, split: str) -> dict[str, Any]:
        """Keys for the journal, such as ``test_accuracy``."""
        return {f"{split}_{name}": value for name, value in self.items()}


class Task(Protocol):
    """Everything that depends on what a label is."""

    @property
    def name(self) -> str:
        """The name in error texts and records."""
        ...

    @property
    def primary_metric(self) -> str:
        """The metric that training, rules and reports follow; a key of metrics(), from 0 to 1, higher is better."""
        ...

    @property
    def metric_names(self) -> Sequence[str]:
        """The keys of metrics()."""
        ...

    @property
    def rule_metrics(self) -> Sequence[str]:
        """The metrics of a test set that campaign.target_metric can name."""
        ...

    def check(self, labels: Tensor, num_points: int, num_classes: int) -> None:
        """Raise DalError unless ``labels`` are labels of this task."""
        ...

    def unlabeled(self, num_points: int, num_classes: int) -> Tensor:
        """The labels of ``num_points`` points that have none."""
        ...

    def encode(self, answers: Sequence[Any], num_classes: int) -> Tensor:
        """Answers of an oracle as labels. Raises DalError, naming the first answer that is no label."""
        ...

    def decode(self, labels: Tensor) -> list[Any]:
        """Labels as the answers of an oracle."""
        ...

    def known(self, labels: Tensor) -> Tensor:
        """(N,) bool: the points whose label is known and can be tested on."""
        ...

    def answerable(self, labels: Tensor) -> Tensor:
        """(N,) bool: the points that an oracle with these labels can answer."""
        ...

    def trainable(self, labels: Tensor) -> Tensor:
        """(N,) bool: the points that training can learn from."""
        ...

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean loss in nats, a scalar with gradients."""
        ...

    def value(self, logits: Tensor, labels: Tensor) -> float:
        """The primary metric."""
        ...

    def metrics(self, logits: Tensor, labels: Tensor) -> Metrics:
        """All metrics, by name."""
        ...

    def predictions(self, logits: Tensor) -> list[Any]:
        """What the model predicts for each point, for stopping rules."""
        ...

    def uncertainty(self, logits: Tensor) -> float:
        """Mean entropy over its largest possible value, from 0 to 1."""
        ...

    def check_acquisition(self, acquisition: Any) -> None:
        """Raise DalError unless the acquisition function works with the outputs of this task."""
        ...
