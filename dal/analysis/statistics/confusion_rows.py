"""Intervals of the cells of a confusion matrix, and of their change between two tests of the same points."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from dal.analysis.statistics.proportions import LEVEL, paired_change
from dal.errors import bad_value

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PRIOR = 0.5
"""Jeffreys' prior count of each cell."""


def confusion_counts(label: ArrayLike, predicted: ArrayLike, num_classes: int) -> Ints:
    """Return (C, C) counts: rows are the classes of points, and columns are the predicted classes.

    >>> confusion_counts([0, 0, 1], [0, 1, 1], 2).tolist()
    [[1, 1], [0, 1]]
    """
    truth, guess = np.asarray(label, dtype=np.int64), np.asarray(predicted, dtype=np.int64)
    if truth.shape != guess.shape or truth.ndim != 1:
        raise bad_value("predicted", f"one class per point, shape {truth.shape}", guess.shape)
    for name, values in (("label", truth), ("predicted", guess)):
        if len(values) and not 0 <= values.min() <= values.max() < num_classes:
            raise bad_value(name, f"classes from 0 to {num_classes - 1}", [int(values.min()), int(values.max())])
    counts = np.bincount(truth * num_classes + guess, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes).astype(np.int64)


def row_shares(counts: ArrayLike) -> Floats:
    """Return each row divided by its sum, NaN for rows without points.

    >>> row_shares([[3, 1], [0, 0]]).tolist()
    [[0.75, 0.25], [nan, nan]]
    """
    table = np.asarray(counts, dtype=np.float64)
    total = table.sum(axis=1, keepdims=True)
    share = np.divide(table, total, out=np.full_like(table, np.nan), where=total > 0)
    return np.asarray(share, dtype=np.float64)


def row_intervals(counts: ArrayLike, level: float = LEVEL) -> tuple[Floats, Floats]:
    """Return the two ends of Jeffreys' interval of each cell's share of its row.

    counts: (K, C). Each cell stands against the rest of its row: its posterior is Beta(cell + 1/2, rest + 1/2). A prior
    count of 1/2 for each of C cells, Dirichlet(counts + 1/2), would move the shares of a row with fewer images than
    classes far from what was seen. An empty cell starts at 0, and a full row ends at 1. Rows without points get 0 to 1.

    >>> low, high = row_intervals([[45, 5], [0, 0]])
    >>> low.round(2).tolist(), high.round(2).tolist()
    ([[0.79, 0.04], [0.0, 0.0]], [[0.96, 0.21], [1.0, 1.0]])
    """
    table = np.asarray(counts, dtype=np.float64)
    if table.ndim != 2 or (table < 0).any():
        raise bad_value("counts", "a table of counts", table.tolist())
    rest = table.sum(axis=1, keepdims=True) - table
    low = stats.beta.ppf((1 - level) / 2, table + PRIOR, rest + PRIOR)
    high = stats.beta.ppf((1 + level) / 2, table + PRIOR, rest + PRIOR)
    return np.where(table == 0, 0.0, low), np.where(rest == 0, 1.0, high)


def row_changes(
    label: ArrayLike, before: ArrayLike, after: ArrayLike, num_classes: int, level: float = LEVEL
) -> tuple[Floats, Floats]:
    """Return (C, C) ends of the interval of each cell's change, as a share of its row.

    label, before, after: (T,) classes of the same points and their predictions by two models. The points are paired:
    one that stays in its cell tells nothing. Rows without points get -1 and 1.
    """
    truth, first, second = np.asarray(label), np.asarray(before), np.asarray(after)
    moved = first != second
    gains = confusion_counts(truth[moved], second[moved], num_classes)
    losses = confusion_counts(truth[moved], first[moved], num_classes)
    total = np.bincount(truth, minlength=num_classes)[:, None]
    return paired_change(gains, losses, total, (1 + level) / 2)
