"""Mean ranks over data sets, with Friedman's and Nemenyi's tests.

See Demšar, 2006, Journal of Machine Learning Research 7.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from dal.errors import bad_value

Floats = NDArray[np.float64]

FEW = 10  # with fewer data sets, Friedman's p-value is approximate


@dataclass(frozen=True, eq=False)
class Ranks:
    """Ranks of F functions on N data sets.

    Values that cannot be tested are NaN, and ``note`` explains why.
    """

    ranks: Floats  # (N, F), 1 is the best; ties share their mean rank
    mean: Floats  # (F,)
    statistic: float  # Friedman's chi-square, corrected for ties
    p_value: float  # of all functions being equal
    critical_difference: float  # Nemenyi: mean ranks that differ by this much are significantly different at 5 %
    nemenyi: Floats  # (F, F) p-values of pairs, 1 on the diagonal
    note: str


def rank_functions(scores: ArrayLike) -> Ranks:
    """Rank F functions on each of N data sets by their scores.

    scores: (N, F), higher is better. Friedman's test needs three functions and two data sets. Raises DalError for
    another shape and values that are not finite.

    >>> found = rank_functions([[0.9, 0.8, 0.7], [0.8, 0.9, 0.7], [0.9, 0.8, 0.7]])
    >>> found.mean.round(2).tolist(), round(found.statistic, 2), round(found.critical_difference, 2)
    ([1.33, 1.67, 3.0], 4.67, 1.91)
    """
    table = np.asarray(scores, dtype=np.float64)
    if table.ndim != 2 or 0 in table.shape:
        raise bad_value("scores", "shape (data sets, functions)", table.shape)
    if not np.isfinite(table).all():
        raise bad_value("scores", "finite numbers", table.tolist())
    num_sets, num_functions = table.shape
    ranks = np.array([stats.rankdata(-np.round(row, 12)) for row in table])
    mean = ranks.mean(axis=0)
    unknown = np.full((num_functions, num_functions), np.nan)
    if num_sets < 2 or num_functions < 3:
        note = (
            "no test is possible: Friedman's test needs two data sets and three functions, got "
            f"{num_sets} and {num_functions}"
        )
        return Ranks(ranks, mean, math.nan, math.nan, math.nan, unknown, note)
    if (ranks == ranks[:, :1]).all():
        note = "all functions are equal on every data set, so no test is possible"
        return Ranks(ranks, mean, math.nan, math.nan, math.nan, unknown, note)
    statistic, p_value = stats.friedmanchisquare(*ranks.T)
    error = math.sqrt(num_functions * (num_functions + 1) / (6 * num_sets))
    critical = nemenyi_quantile(num_functions) * error
    apart = np.abs(mean[:, None] - mean[None, :]) / error * math.sqrt(2)
    nemenyi = np.clip(stats.studentized_range.sf(apart, num_functions, np.inf), 0.0, 1.0)
    return Ranks(ranks, mean, float(statistic), float(p_value), critical, nemenyi, _note(table.shape, critical))


def nemenyi_quantile(num_functions: int, level: float = 0.05) -> float:
    """Return the quantile that Nemenyi's critical difference is based on.

    The critical difference is this quantile times sqrt(F (F + 1) / (6 N)).

    >>> round(nemenyi_quantile(2), 3), round(nemenyi_quantile(10), 3)
    (1.96, 3.164)
    """
    return float(stats.studentized_range.ppf(1 - level, num_functions, np.inf) / math.sqrt(2))


def _note(shape: tuple[int, ...], critical: float) -> str:
    num_sets, num_functions = shape
    if critical > num_functions - 1:
        return (
            f"{num_sets} data sets are too few for Nemenyi's test: mean ranks must differ by {critical:.2f}, but can "
            f"differ by at most {num_functions - 1}"
        )
    if num_sets < FEW:
        return (
            f"with {num_sets} data sets, fewer than {FEW}, Friedman's p-value is approximate and detects only large "
            "effects"
        )
    return ""
