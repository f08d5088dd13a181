"""Statistics of learning curves: pure functions on arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from dal.errors import bad_value

Floats = NDArray[np.float64]


def area_under_curve(x: ArrayLike, y: ArrayLike) -> float:
    """Return the mean height of a piecewise linear curve.

    The height, in units of ``y``, is the area by the trapezoid rule, divided by the width.

    x, y: (T,) with T >= 2; x increases. Raises DalError otherwise.

    >>> area_under_curve([10, 20, 40], [0.5, 0.7, 0.7])
    0.6666666666666666
    """
    xs, ys = _curve(x, y)
    if len(xs) < 2:
        raise bad_value("x", "at least 2 points", len(xs))
    return float((np.diff(xs) * (ys[1:] + ys[:-1]) / 2).sum() / (xs[-1] - xs[0]))


def labels_to_reach(x: ArrayLike, y: ArrayLike, target: float) -> float | None:
    """Return where the curve first reaches ``target``, or None.

    x: (T,) labels, increasing; y: (T,), in units of ``target``. A curve that starts at or above the target reaches it
    at its first point, since earlier values are unknown. Raises DalError for other shapes.

    >>> labels_to_reach([10, 20, 40], [50, 70, 90], 80), labels_to_reach([10, 20], [50, 70], 80)
    (30.0, None)
    """
    xs, ys = _curve(x, y)
    reached = np.flatnonzero(ys >= target)
    if not len(reached):
        return None
    i = int(reached[0])
    if i == 0:
        return float(xs[0])
    share = (target - ys[i - 1]) / (ys[i] - ys[i - 1])
    return float(xs[i - 1] + share * (xs[i] - xs[i - 1]))


def mean_and_interval(values: ArrayLike, confidence: float = 0.95) -> tuple[Floats, Floats]:
    """Return means over S seeds and half widths of their t intervals.

    values: (S, ...) with S >= 1, in any unit. Returns two arrays of shape (...) in the same unit: the interval is mean
    ± half width. The half width of one seed is NaN, since the spread between seeds is unknown. Raises DalError for no
    seeds, values that are not finite, and a confidence outside (0, 1).

    >>> mean, half_width = mean_and_interval([[0.5, 0.8], [0.7, 0.8]])
    >>> mean.round(3).tolist(), half_width.round(3).tolist()
    ([0.6, 0.8], [1.271, 0.0])
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim == 0 or len(array) == 0:
        raise bad_value("values", "at least one seed", array.shape)
    if not np.isfinite(array).all():
        raise bad_value("values", "finite numbers", float(array[~np.isfinite(array)][0]))
    if not 0 < confidence < 1:
        raise bad_value("confidence", "between 0 and 1", confidence)
    mean, num_seeds = array.mean(axis=0), len(array)
    if num_seeds == 1:
        return mean, np.full_like(mean, np.nan)
    error = array.std(axis=0, ddof=1) / np.sqrt(num_seeds)
    return mean, np.asarray(stats.t.ppf((1 + confidence) / 2, num_seeds - 1) * error)


def paired_difference(a: Sequence[float], b: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Return the mean of a - b over seeds and its interval.

    The second value is half the width of the t interval, NaN for one pair.

    a, b: (S,) in the same order of seeds, in any unit. Runs of a seed share their initial set, so pairs differ less
    than means. Raises DalError unless the lengths are equal.

    >>> mean, half_width = paired_difference([0.8, 0.9], [0.7, 0.8])
    >>> round(mean, 3), round(half_width, 3)
    (0.1, 0.0)
    """
    if len(a) != len(b):
        raise bad_value("b", f"{len(a)} values, the length of a", len(b))
    mean, half_width = mean_and_interval(np.subtract(a, b), confidence)
    return float(mean), float(half_width)


def _curve(x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if xs.ndim != 1 or xs.shape != ys.shape:
        raise bad_value("y", f"one value per value of x, of shape {xs.shape}", ys.shape)
    if not (np.isfinite(xs).all() and np.isfinite(ys).all()):
        raise bad_value("x, y", "finite numbers", [xs.tolist(), ys.tolist()])
    if not (np.diff(xs) > 0).all():
        raise bad_value("x", "increasing numbers", xs.tolist())
    return xs, ys
