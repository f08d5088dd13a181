"""Paired t-tests over seeds, and Holm's correction for several tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from dal.errors import bad_value

Floats = NDArray[np.float64]

_DECIMALS = 12  # smaller differences of areas are rounding errors


def paired_p_values(a: ArrayLike, b: ArrayLike) -> Floats:
    """Return two-sided p-values of paired t-tests of a against b.

    a, b: (S, ...) with the same S seeds in the same order, in any unit. Returns (...): 1 if all pairs are equal, 0 if
    all differ by the same amount, NaN for a single pair. Raises DalError for other shapes and for values that are not
    finite.

    >>> paired_p_values([0.8, 0.9, 0.7], [0.7, 0.7, 0.7]).round(3).tolist()
    0.225
    """
    difference = paired_differences(a, b)
    count = len(difference)
    if count < 2:
        return np.full(difference.shape[1:], np.nan)
    mean, error = difference.mean(axis=0), difference.std(axis=0, ddof=1) / np.sqrt(count)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(mean == 0, 0.0, np.abs(mean) / error)
    return np.asarray(2 * stats.t.sf(t, count - 1), dtype=np.float64)


def paired_differences(a: ArrayLike, b: ArrayLike) -> Floats:
    """Return a - b, (S, ...), with rounding errors set to 0.

    >>> paired_differences([0.1 + 0.2], [0.3]).tolist()
    [0.0]
    """
    one, other = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if one.ndim == 0 or one.shape != other.shape or len(one) == 0:
        raise bad_value("b", f"the seeds and shape of a, {one.shape}", other.shape)
    if not (np.isfinite(one).all() and np.isfinite(other).all()):
        raise bad_value("a, b", "finite numbers", [one.tolist(), other.tolist()])
    return np.round(one - other, _DECIMALS)


def holm(p_values: ArrayLike) -> Floats:
    """Apply Holm's step-down correction (Holm, 1979) to p-values.

    p_values: (M,). Returns (M,) in the same order. Rejecting adjusted values below alpha bounds the probability of any
    error in the family by alpha, for any dependence between the tests. NaN, for tests that were not possible, remains
    NaN and does not count. Raises DalError for other shapes and for values outside [0, 1].

    >>> holm([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p_values, dtype=np.float64)
    if values.ndim != 1:
        raise bad_value("p_values", "shape (M,)", values.shape)
    known = np.flatnonzero(~np.isnan(values))
    if ((values[known] < 0) | (values[known] > 1)).any():
        raise bad_value("p_values", "numbers from 0 to 1", values.tolist())
    order = known[np.argsort(values[known], kind="stable")]
    steps = values[order] * np.arange(len(order), 0, -1)
    adjusted = np.full_like(values, np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted
