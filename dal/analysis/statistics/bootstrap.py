"""Bootstrap intervals over seeds, for statistics that are not means."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from dal.errors import bad_value

Floats = NDArray[np.float64]

NUM_RESAMPLES = 10_000


def resampled_weights(num_seeds: int, num_resamples: int = NUM_RESAMPLES, seed: int = 0) -> Floats:
    """Return resamples of S seeds as weights, (R, S).

    Seeds are drawn with replacement, and each row sums to 1. ``weights @ accuracy`` are the mean curves of the
    resamples. Use the same weights for two functions to keep their pairs. Raises DalError for less than one seed or
    one resample.

    >>> resampled_weights(2, 3).sum(axis=1).tolist()
    [1.0, 1.0, 1.0]
    """
    if num_seeds < 1 or num_resamples < 1:
        raise bad_value("num_seeds, num_resamples", "at least 1", (num_seeds, num_resamples))
    generator = np.random.default_rng(seed)
    counts = generator.multinomial(num_seeds, np.full(num_seeds, 1 / num_seeds), size=num_resamples)
    return counts / num_seeds


def bootstrap_interval(replicates: ArrayLike, num_seeds: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the expanded percentile interval (Hesterberg, arXiv:1411.5279).

    replicates: (R,) the statistic of each resample; values may be infinite. A plain percentile interval is too narrow
    for few seeds: it lacks the factor sqrt(S / (S - 1)) of the variance and uses the normal distribution instead of
    Student's t. The expanded interval uses more extreme percentiles. It cannot leave the range of the resamples, so it
    remains too narrow for very few seeds. For a mean of normal numbers, 95 % intervals contain the true value in 51 %
    of cases with 2 seeds, 75 % with 3, 91 % with 5 (plain: 82 %) and 95 % with 10 (plain: 90 %).

    NaN means unknown. The lower end treats it as the smallest possible value, and the upper end as the largest. One
    seed gives (NaN, NaN).

    Raises DalError for no replicates or a confidence outside (0, 1).

    >>> bootstrap_interval([1.0, 2.0, 3.0, 4.0], num_seeds=1000, confidence=0.5)
    (1.0, 4.0)
    """
    values = np.asarray(replicates, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise bad_value("replicates", "shape (R,) with R >= 1", values.shape)
    if not 0 < confidence < 1:
        raise bad_value("confidence", "between 0 and 1", confidence)
    if num_seeds < 2:
        return math.nan, math.nan
    level = expanded_level((1 - confidence) / 2, num_seeds)
    low = np.sort(np.where(np.isnan(values), -np.inf, values))
    high = np.sort(np.where(np.isnan(values), np.inf, values))
    # An element of the sample, since interpolation between a number and infinity is undefined.
    place = max(math.ceil(level * len(values)) - 1, 0)
    return float(low[place]), float(high[len(values) - 1 - place])


def expanded_level(level: float, num_seeds: int) -> float:
    """Return the fraction of resamples outside one end of the interval.

    ``level`` is the desired error rate at that end.

    >>> round(expanded_level(0.025, 5), 5), round(expanded_level(0.025, 1000), 4)
    (0.00095, 0.0248)
    """
    quantile = stats.t.ppf(level, num_seeds - 1) * math.sqrt(num_seeds / (num_seeds - 1))
    return float(stats.norm.cdf(quantile))
