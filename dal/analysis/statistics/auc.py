"""The area under the ROC curve of two samples, and its standard error."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from dal.errors import bad_value


def delong(positive: ArrayLike, negative: ArrayLike) -> tuple[float, float]:
    """Return the area under the ROC curve and its standard error (DeLong et al., Biometrics 1988).

    positive: (M,) scores of one sample; negative: (N,) of the other. The area is the probability that a positive point
    has the higher score, ties counting half. The error is NaN for a sample of one point. Raises DalError for empty
    samples and for NaN.

    >>> area, error = delong([0.9, 0.8, 0.4], [0.5, 0.3])
    >>> round(area, 3), round(error, 3)
    (0.833, 0.236)
    """
    x, y = np.asarray(positive, dtype=np.float64), np.asarray(negative, dtype=np.float64)
    if x.ndim != 1 or y.ndim != 1 or not len(x) or not len(y):
        raise bad_value("positive, negative", "two samples of at least one point", (x.shape, y.shape))
    if np.isnan(x).any() or np.isnan(y).any():
        raise bad_value("positive, negative", "numbers", "NaN")
    ranks = stats.rankdata(np.concatenate([x, y]))
    # For each point, the share of the other sample that is on its right side (Sun and Xu, 2014).
    of_positive = (ranks[: len(x)] - stats.rankdata(x)) / len(y)
    of_negative = 1 - (ranks[len(x) :] - stats.rankdata(y)) / len(x)
    area = float(of_positive.mean())
    if min(len(x), len(y)) < 2:
        return area, math.nan
    return area, math.sqrt(of_positive.var(ddof=1) / len(x) + of_negative.var(ddof=1) / len(y))
