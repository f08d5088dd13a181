"""The exact one-sided test that more points were lost than gained."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from dal.errors import bad_value

Floats = NDArray[np.float64]


def exact_mcnemar(losses: ArrayLike, gains: ArrayLike) -> Floats:
    """Return one-sided p-values of at least this many losses, if a change is a loss or a gain with equal chance.

    losses, gains: points right before and wrong now, and the reverse (McNemar, Psychometrika 1947). Points that did not
    change tell nothing. Raises DalError for negative counts.

    >>> exact_mcnemar([12, 0, 9], [0, 0, 2]).round(5).tolist()
    [0.00024, 1.0, 0.03271]
    """
    less, more = np.asarray(losses), np.asarray(gains)
    if (less < 0).any() or (more < 0).any():
        raise bad_value("losses, gains", "at least 0", (less.tolist(), more.tolist()))
    return np.asarray(stats.binom.sf(less - 1, less + more, 0.5), dtype=np.float64)


def least_losses(alpha: float) -> int:
    """Return the least number of losses, without a gain, whose p-value is below ``alpha``.

    >>> least_losses(0.05 / 140)
    12
    """
    if not 0 < alpha < 1:
        raise bad_value("alpha", "between 0 and 1", alpha)
    return math.floor(-math.log2(alpha)) + 1
