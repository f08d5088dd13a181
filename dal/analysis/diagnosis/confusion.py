"""The confusion matrix of each round, with the interval of each cell and of its change between rounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dal.analysis.diagnosis.history import Floats, History, Ints
from dal.analysis.diagnosis.thresholds import CONFUSION_LEVEL
from dal.analysis.statistics.confusion_rows import confusion_counts, row_changes, row_intervals, row_shares

COLUMNS = ["count", "share", "low", "high", "change", "change_low", "change_high", "changed"]


@dataclass(frozen=True, eq=False)
class Confusion:
    """The confusion matrix of a round. Rows are the classes of test points, and columns are the predicted classes."""

    round: int
    counts: Ints
    """(C, C)."""
    share: Floats
    """(C, C) of each row; NaN for classes without test points."""
    low: Floats
    high: Floats
    """(C, C) ends of the interval of each share."""

    @property
    def recall(self) -> Floats:
        """(C,) NaN for classes without test points."""
        return np.asarray(np.diag(self.share), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class ConfusionChange:
    """The change of a confusion matrix between two rounds, on the points that both tested."""

    before: int
    after: int
    change: Floats
    """(C, C) change of each cell as a share of its row; NaN for classes that the rounds have no common points of."""
    low: Floats
    high: Floats
    """(C, C) ends of the interval of each change."""

    @property
    def changed(self) -> NDArray[np.bool_]:
        """(C, C) whether the interval leaves out 0. Other cells are pale."""
        return np.asarray((self.low > 0) | (self.high < 0), dtype=np.bool_)


def confusion_of(history: History, round: int) -> Confusion:
    """Return the confusion matrix of a round. Without test predictions, all counts are 0."""
    counts = counts_of(history, round)
    low, high = row_intervals(counts, CONFUSION_LEVEL)
    return Confusion(round, counts, row_shares(counts), low, high)


def confusions(history: History) -> Sequence[Confusion]:
    """Return the confusion matrices of all rounds that have test predictions."""
    return [confusion_of(history, int(round)) for round in history.recorded]


def change_between(history: History, before: int, after: int) -> ConfusionChange:
    """Return what changed from one round to another.

    The same points are compared, so a change shows sooner than in intervals of two matrices.
    """
    common = history.tested[before] & history.tested[after]
    label = history.test_label[common]
    first, second = history.test_predicted[before, common], history.test_predicted[after, common]
    num = history.num_classes
    low, high = row_changes(label, first, second, num, CONFUSION_LEVEL)
    change = row_shares(confusion_counts(label, second, num)) - row_shares(confusion_counts(label, first, num))
    return ConfusionChange(before, after, change, low, high)


def confusion_table(history: History) -> pd.DataFrame:
    """Return one row per round and cell that is not empty, or that changed since the round with records before.

    Columns: round, class, predicted, and COLUMNS. The changes of the first round are NaN.
    """
    tables = []
    previous = None
    for matrix in confusions(history):
        shown = matrix.counts > 0
        unknown = np.full(matrix.share.shape, np.nan)
        change, low, high, changed = unknown, unknown, unknown, np.zeros(shown.shape, dtype=np.bool_)
        if previous is not None:
            since = change_between(history, previous, matrix.round)
            change, low, high, changed = since.change, since.low, since.high, since.changed
        cell = np.nonzero(shown | changed)
        table = pd.DataFrame({"round": matrix.round, "class": cell[0], "predicted": cell[1]})
        values = (matrix.counts, matrix.share, matrix.low, matrix.high, change, low, high, changed)
        tables.append(table.assign(**{name: value[cell] for name, value in zip(COLUMNS, values, strict=True)}))
        previous = matrix.round
    return (
        pd.concat(tables, ignore_index=True)
        if tables
        else pd.DataFrame(columns=["round", "class", "predicted", *COLUMNS])
    )


def counts_of(history: History, round: int) -> Ints:
    """Return the (C, C) counts of a round, all 0 without test predictions."""
    tested = history.tested[round]
    return confusion_counts(history.test_label[tested], history.test_predicted[round, tested], history.num_classes)
