"""Trains the labels of a run again, in another order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dal.data.images import ImageData
from dal.loop import ActiveLearner


@dataclass(frozen=True)
class LabelsOfRun:
    """The labels of a run and its schedule, which all orders share."""

    indices: Sequence[int]
    """(L,) training points in the order of the run."""
    labels: Sequence[int]
    """(L,)."""
    sizes: Sequence[int]
    """(R,) labels that each round adds."""
    updates: Sequence[int]
    """(R,) optimizer updates of each round."""
    test: tuple[Sequence[int], Sequence[int]] | None = None
    """Indices and labels of a test set that was bought from the pool."""


def train_in_order(
    learner: ActiveLearner, run: LabelsOfRun, positions: Sequence[int], test: ImageData | None, at_once: bool = False
) -> list[float]:
    """Train a new learner on the labels in the order of ``positions``, and return the test accuracy of each round.

    Each round adds as many labels and makes as many updates as in the run. With ``at_once``, one round has all labels
    and all updates.
    """
    if run.test is not None:
        learner.tell_test(*run.test)
    sizes, updates = (run.sizes, run.updates) if not at_once else ([sum(run.sizes)], [sum(run.updates)])
    accuracies, start = [], 0
    for size, count in zip(sizes, updates, strict=True):
        chosen = positions[start : start + size]
        start += size
        learner.tell([run.indices[i] for i in chosen], [run.labels[i] for i in chosen])
        learner.training = replace(
            learner.training, min_updates=0, max_updates=max(count, 1), updates_per_label=None, monitor="none"
        )
        learner.fit()
        metrics = learner.evaluate(test) if test is not None else learner.test_metrics()
        assert metrics is not None
        accuracies.append(float(metrics[learner.data.task.primary_metric]))
    return accuracies
