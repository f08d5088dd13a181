"""The labeled points of the last recorded round over all rounds since each was bought."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dal.analysis.diagnosis.history import Floats, History, Ints, Trained
from dal.analysis.diagnosis.readout import last_trained


@dataclass(frozen=True, eq=False)
class Trajectories:
    """L points over the r rounds with records; NaN and False where a point was not labeled yet."""

    trained: Trained
    """Their last record."""
    rounds: Ints
    """(r,)."""
    probability: Floats
    """(r, L) of the told class."""
    margin: Floats
    """(r, L)."""
    right: NDArray[np.bool_]
    """(r, L) whether the predicted class is the told one."""

    @cached_property
    def seen(self) -> NDArray[np.bool_]:
        """(r, L) whether the round has a record of the point."""
        return ~np.isnan(self.probability)

    @cached_property
    def counts(self) -> Ints:
        """(L,) rounds with a record, at least 1."""
        return np.asarray(self.seen.sum(axis=0), dtype=np.int64)

    @cached_property
    def mean(self) -> Floats:
        """(L,) mean probability of the told class."""
        return np.asarray(np.nansum(self.probability, axis=0) / self.counts, dtype=np.float64)

    @cached_property
    def events(self) -> Ints:
        """(L,) forgetting events: right, and wrong in the next recorded round of the point."""
        count = np.zeros(len(self.counts), np.int64)
        was_right = np.zeros(len(self.counts), np.bool_)
        for seen, right in zip(self.seen, self.right, strict=True):
            count += seen & was_right & ~right
            was_right = np.where(seen, right, was_right)
        return count


def trajectories(history: History) -> Trajectories:
    """Return the trajectories of a history that has a record of labeled points."""
    last = last_trained(history)
    assert last is not None
    rounds = np.array([number for number, record in enumerate(history.trained) if record is not None])
    shape = len(rounds), len(last.index)
    probability, margin, right = np.full(shape, np.nan), np.full(shape, np.nan), np.zeros(shape, np.bool_)
    order = np.argsort(last.index)
    for row, number in enumerate(rounds):
        record = history.trained[number]
        assert record is not None
        # Labels can be withdrawn, so a round may know points that the last one does not.
        known = np.isin(record.index, last.index)
        place = order[np.searchsorted(last.index, record.index[known], sorter=order)]
        probability[row, place] = np.exp(record.log_prob[known])
        margin[row, place] = record.margin[known]
        right[row, place] = (record.predicted == record.label)[known]
    return Trajectories(last, rounds, probability, margin, right)
