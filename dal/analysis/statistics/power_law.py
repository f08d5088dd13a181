"""Learning curves err = a n^-b of several classes, with exponents shrunk to a common one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def fit_power_laws(numbers: Floats, errors: Floats, tested: Floats, least_points: int) -> tuple[Floats, Floats]:
    """Return the exponents b of err = a n^-b, by weighted least squares of logarithms, and their variances.

    numbers: (R, K) labels, at least 1. errors: (..., R, K) shares of wrong images, with any leading shape. tested:
    (R, K) images behind them, 0 where there are none. A logarithm of a share of n images has variance (1 - err) / (n
    err), so the weights are n err / (1 - err). Shares are moved half an image away from 0 and 1. Returns (..., K) b,
    NaN for a class with fewer than ``least_points`` different numbers, and (..., K) variances of b from the weights.

    >>> n = np.array([[10.0], [20.0], [40.0], [80.0]])
    >>> slope, _ = fit_power_laws(n, 2 * n**-0.5, np.full((4, 1), 1e9), 4)
    >>> slope.round(3).tolist()
    [0.5]
    """
    x, y, weights = _logs(numbers, errors, tested)
    total = weights.sum(axis=-2)
    with np.errstate(invalid="ignore", divide="ignore"):
        center = (weights * x).sum(axis=-2) / total
        spread = x - center[..., None, :]
        square = (weights * spread**2).sum(axis=-2)
        slope = -(weights * spread * y).sum(axis=-2) / square
        variance = 1 / square
    different = np.array([len(np.unique(column[seen > 0])) for column, seen in zip(numbers.T, tested.T, strict=True)])
    enough = (different >= least_points) & np.isfinite(slope)
    return np.where(enough, slope, np.nan), np.where(enough, variance, np.nan)


def shrunk_exponents(slopes: Floats, variances: Floats) -> tuple[Floats, Floats]:
    """Return (..., K) exponents between each class's own and the common one, and their standard deviations.

    Empirical Bayes: the variance between classes, by the method of moments (DerSimonian and Laird, 1986), decides how
    far each exponent moves. A class without an exponent gets the common one. NaN if no class has one. The standard
    deviation is that of the class around the common exponent, given its own.

    >>> exponents, _ = shrunk_exponents(np.array([0.4, 0.6, np.nan]), np.array([0.1, 0.1, np.nan]))
    >>> exponents.round(3).tolist()
    [0.5, 0.5, 0.5]
    """
    known = ~np.isnan(slopes)
    weights = np.where(known, 1 / np.where(known, np.maximum(variances, 1e-12), 1.0), 0.0)
    values = np.where(known, slopes, 0.0)
    total = weights.sum(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        common = (weights * values).sum(axis=-1, keepdims=True) / total
        heterogeneity = (weights * (values - common) ** 2).sum(axis=-1, keepdims=True)
        scale = total - (weights**2).sum(axis=-1, keepdims=True) / total
        freedom = known.sum(axis=-1, keepdims=True) - 1
        between = np.where(freedom > 0, np.maximum(heterogeneity - freedom, 0) / scale, 0.0)
        common = (weights * values).sum(axis=-1, keepdims=True) / total
        own = np.where(known, between / (between + np.where(known, variances, 1.0)), 0.0)
    return own * values + (1 - own) * common, np.sqrt(between * (1 - own))


def fitted_levels(numbers: Floats, errors: Floats, tested: Floats, exponents: Floats) -> Floats:
    """Return (..., K) log a of each class for given exponents (..., K)."""
    x, y, weights = _logs(numbers, errors, tested)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(
            (weights * (y + exponents[..., None, :] * x)).sum(axis=-2) / weights.sum(axis=-2), dtype=np.float64
        )


def _logs(numbers: Floats, errors: Floats, tested: Floats) -> tuple[Floats, Floats, Floats]:
    smooth = (errors * tested + 0.5) / (tested + 1)
    return np.log(numbers), np.log(smooth), tested * smooth / (1 - smooth)
