"""Trains the labels of a run again: in another order, or a part of them at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from dal.data.images import ImageData, known_indices
from dal.loop import ActiveLearner
from dal.runs.refits import Training


@dataclass(frozen=True)
class LabelsOfRun:
    """The labels of a run and its schedule, which all trainings share."""

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
    rounds: Sequence[int] = ()
    """(L,) rounds that bought the labels."""


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
        _train(learner, run, positions[start : start + size], count)
        start += size
        metrics = learner.evaluate(test) if test is not None else learner.test_metrics()
        assert metrics is not None
        accuracies.append(float(metrics[learner.data.task.primary_metric]))
    return accuracies


def train_at_once(
    learner: ActiveLearner, run: LabelsOfRun, positions: Sequence[int], updates: int, test: ImageData | None
) -> Training:
    """Train a new learner on the labels at ``positions`` in one round, and return the classes that it predicts."""
    if run.test is not None:
        learner.tell_test(*run.test)
    _train(learner, run, positions, updates)
    if test is not None:
        tested = learner.passes.logits(learner.seen(test, "test"), known_indices(test), "test")
    else:
        tested = learner.predict(bought_test(learner)[0])
    labeled = learner.predict(torch.tensor(run.indices))
    return Training(tested.argmax(dim=1).tolist(), labeled.argmax(dim=1).tolist())


def bought_test(learner: ActiveLearner) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the indices and labels of a test set that was bought, without points of none of the classes."""
    assert learner.test is not None
    return learner.data.trainable(learner.test)


def _train(learner: ActiveLearner, run: LabelsOfRun, positions: Sequence[int], updates: int) -> None:
    """Train a round that adds the labels at ``positions``, with this number of updates."""
    learner.tell([run.indices[i] for i in positions], [run.labels[i] for i in positions])
    learner.training = replace(
        learner.training, min_updates=0, max_updates=max(updates, 1), updates_per_label=None, monitor="none"
    )
    learner.fit()
