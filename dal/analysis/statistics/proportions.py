"""One-sided limits of shares, and of the change of a share between two tests of the same points."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from dal.errors import bad_value

Floats = NDArray[np.float64]

LEVEL = 0.95


def wilson_lower(successes: ArrayLike, trials: ArrayLike, level: float = LEVEL) -> Floats:
    """Return lower limits of shares by Wilson's score (Wilson, JASA 1927).

    Each limit is one-sided: the share is above it with probability ``level``. Without trials it is 0. Raises DalError
    for counts that are no share.

    >>> wilson_lower([45, 50, 0], [50, 50, 0]).round(3).tolist()
    [0.808, 0.949, 0.0]
    """
    count, total = _counts(successes, trials)
    z = stats.norm.ppf(_checked_level(level))
    known = np.maximum(total, 1.0)
    share, squared = count / known, z * z / known
    half = z * np.sqrt(share * (1 - share) / known + squared / (4 * known))
    limit = (share + squared / 2 - half) / (1 + squared)
    # The formula gives this end exactly, but rounding does not.
    return np.asarray(np.where(count == 0, 0.0, limit), dtype=np.float64)


def wilson_upper(successes: ArrayLike, trials: ArrayLike, level: float = LEVEL) -> Floats:
    """Return one-sided upper limits of shares by Wilson's score, 1 without trials.

    >>> wilson_upper([5, 0], [50, 0]).round(3).tolist()
    [0.192, 1.0]
    """
    count, total = _counts(successes, trials)
    return 1 - wilson_lower(total - count, total, level)


def paired_change(gains: ArrayLike, losses: ArrayLike, total: ArrayLike, level: float = LEVEL) -> tuple[Floats, Floats]:
    """Return limits of the change of a share on the same points, each one-sided.

    gains, losses: points that have the property only after, or only before. total: all points. Half a point is added to
    each of the four cells, and the rest is the normal limit (Agresti and Min, Statistics in Medicine 2005). Without
    points the limits are -1 and 1. Raises DalError for counts that are no share.

    >>> low, high = paired_change(2, 9, 50)
    >>> round(float(low), 3), round(float(high), 3)
    (-0.24, -0.029)
    """
    more, all_points = _counts(gains, total)
    less, _ = _counts(np.asarray(losses), all_points)
    _counts(more + less, all_points)
    z, added = stats.norm.ppf(_checked_level(level)), all_points + 2
    change = (more - less) / added
    error = np.sqrt(((more + less + 1) / added - change**2) / added)
    unknown = all_points == 0
    low = np.where(unknown, -1.0, np.maximum(change - z * error, -1.0))
    high = np.where(unknown, 1.0, np.minimum(change + z * error, 1.0))
    return np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)


def _counts(successes: ArrayLike, trials: ArrayLike) -> tuple[Floats, Floats]:
    count, total = np.broadcast_arrays(np.asarray(successes, np.float64), np.asarray(trials, np.float64))
    if not ((count >= 0) & (count <= total)).all():
        raise bad_value("successes", "counts from 0 to the number of trials", (count.tolist(), total.tolist()))
    return count, total


def _checked_level(level: float) -> float:
    if not 0 < level < 1:
        raise bad_value("level", "a share between 0 and 1", level)
    return level
