"""Differences between two ways to train, each trained with several seeds and tested on the same points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from dal.analysis.statistics.mcnemar import exact_mcnemar
from dal.errors import bad_value

LEVEL = 0.95


@dataclass(frozen=True)
class Crossed:
    """Two shares of right points, as means over S trainings, and their difference."""

    before: float
    after: float
    low: float
    """Ends of the 95 % interval of after - before."""
    high: float
    gains: int
    """Points that more trainings get right after than before."""
    losses: int
    p: float
    """The larger of two two-sided p-values: exact McNemar on the points, and the t-test of the interval."""
    points: int

    @property
    def difference(self) -> float:
        return self.after - self.before

    @property
    def most(self) -> float:
        """The largest difference, up or down, inside the interval."""
        return max(abs(self.low), abs(self.high))


@dataclass(frozen=True)
class Spread:
    """How much a difference varies between trainings."""

    variance: float
    freedom: float

    @classmethod
    def of(cls, before: ArrayLike, after: ArrayLike) -> Spread:
        """Return the variance over the trainings of (S, T) booleans."""
        differences = (np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64)).mean(axis=1)
        return cls(float(differences.var(ddof=1)), len(differences) - 1)

    @classmethod
    def mean(cls, spreads: Sequence[Spread]) -> Spread:
        """Return the mean of variances, which is surer than each of them."""
        return cls(float(np.mean([one.variance for one in spreads])), sum(one.freedom for one in spreads))


def crossed(before: ArrayLike, after: ArrayLike, least: Spread | None = None) -> Crossed:
    """Compare (S, T) booleans: whether training s gets point t right, with the same seeds and points in both.

    Points and trainings both vary. The interval adds the variance of the mean over points, with half a point added to
    each cell (Agresti and Min, Statistics in Medicine 2005), and that over trainings, which counts their common part
    twice and so is conservative. Its degrees of freedom are Satterthwaite's (Biometrics Bulletin 1946). The exact test
    of McNemar counts each point once. It alone ignores that another training gives another difference. A few trainings
    can agree by chance: ``least``, such as the mean over many classes, is then used in place of their variance.

    Raises DalError for other shapes, fewer than 2 trainings, and no points.

    >>> right = np.array([[True] * 60, [True] * 60])
    >>> found = crossed(right, right)
    >>> found.difference, round(found.most, 3), found.p
    (0.0, 0.032, 1.0)
    """
    one, other = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    if one.ndim != 2 or one.shape != other.shape or len(one) < 2 or not one.shape[1]:
        raise bad_value("after", f"at least 2 trainings and the shape of before, {one.shape}", other.shape)
    seeds, points = one.shape
    of_point = (other - one).mean(axis=0)
    between = Spread.of(one, other)
    if least is not None and least.variance > between.variance:
        between = least
    added = points + 2
    middle = float(of_point.sum() / added)
    point_part = float(((of_point**2).sum() + 1) / added - middle**2) / added
    training_part = between.variance / seeds
    error = math.sqrt(point_part + training_part)
    freedom = error**4 / (point_part**2 / (points + 1) + training_part**2 / between.freedom)
    half = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * error
    gains, losses = _signs(other - one)
    of_images = min(1.0, 2 * float(exact_mcnemar(max(gains, losses), min(gains, losses))))
    of_trainings = 2 * float(stats.t.sf(abs(middle) / error, freedom))
    return Crossed(
        before=float(one.mean()),
        after=float(other.mean()),
        low=max(middle - half, -1.0),
        high=min(middle + half, 1.0),
        gains=gains,
        losses=losses,
        p=max(of_images, of_trainings),
        points=points,
    )


def _signs(differences: NDArray[np.float64]) -> tuple[int, int]:
    total = differences.sum(axis=0)
    return int((total > 0).sum()), int((total < 0).sum())
