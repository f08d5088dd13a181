"""Forecast of accuracy: a fitted learning curve with its uncertainty."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from dal.errors import DalError, bad_value

Array = NDArray[np.float64]

MIN_POINTS = 3
LEVEL = 0.95
_EXPONENTS = np.geomspace(0.05, 3, 60)
# What is believed of the noise before any point is seen: one point of accuracy, as firmly as two points would say it.
_NOISE, _NOISE_POINTS = 0.01, 2
_DRAWS, _TRIES = 20, 25  # proposals a sample in one try, and tries


@dataclass(frozen=True, eq=False)
class LearningCurve:
    """accuracy(n) = a - b * n**-c after ``n`` labels, with 0 < a <= 1, b >= 0 and c > 0.

    ``a``, ``b`` and ``c`` are the best fit. ``samples``, (S, 3) in the order a, b, c, are curves that the points allow,
    each as likely as the next: all intervals are made of them. They are intervals of the curve, which is the accuracy
    without the noise of a single round.
    """

    a: float
    b: float
    c: float
    samples: Array

    def at(self, n: float) -> Array:
        """Accuracy after ``n`` labels on each of the sampled curves: (S,)."""
        if not n > 0:
            raise bad_value("n", "more than 0 labels", n)
        return _curve(self.samples.T, float(n))

    def predict(self, n: float) -> tuple[float, float, float]:
        """Mean accuracy after ``n`` labels, and the lower and upper end of its 95 % interval."""
        return _mean_and_ends(self.at(n))

    def gain(self, n: float, m: float) -> tuple[float, float, float]:
        """What accuracy gains from ``n`` labels to ``m``: mean, and the ends of the 95 % interval. As a share, not in
        points."""
        return _mean_and_ends(self.at(m) - self.at(n))

    def labels_to_reach(self, target: float) -> tuple[float, float, float]:
        """Labels at which the curve reaches ``target``: the median, and the ends of the 95 % interval.

        Each is infinite where so many of the sampled curves never reach it.
        """
        a, b, c = self.samples.T
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            labels = np.ceil((b / (a - target)) ** (1 / c))
        labels = np.sort(np.where(a > target, labels, math.inf))
        # By rank, for between two infinities there is nothing to interpolate.
        median, low, high = (float(labels[round(q * (len(labels) - 1))]) for q in (0.5, *_ENDS))
        return median, low, high


def fit_learning_curve(
    labels: Sequence[float], accuracy: Sequence[float], *, seed: int = 0, num_samples: int = 200
) -> LearningCurve:
    """The power law through ``accuracy``, (R,) shares from 0 to 1, measured after ``labels``, (R,) counts.

    Later points weigh more: the i-th of R by i / R, as in Figueroa et al. 2012 (doi 10.1186/1472-6947-12-8), since
    what comes next looks like what came last. The samples are drawn from the posterior of a Bayesian fit: normal noise
    of unknown size, and flat priors for the accuracies at both ends of the curve and for log(c). With few points the
    prior of the noise keeps the intervals wide, where a bootstrap of the residuals would find no noise at all in three
    points. The same seed gives the same samples.

    Raises DalError for fewer than 3 points, labels that do not increase, and what is not from 0 to 1.

    >>> labels = [100, 200, 300, 400, 500, 600]
    >>> curve = fit_learning_curve(labels, [0.9 - 4 * n ** -0.5 for n in labels])
    >>> round(curve.a, 3), round(curve.b, 2), round(curve.c, 3)
    (0.9, 4.0, 0.5)
    >>> curve.labels_to_reach(0.95)[2]
    inf
    """
    n, y = _checked(labels, accuracy)
    if num_samples < 1:
        raise bad_value("num_samples", "at least 1", num_samples)
    weights = np.arange(1, len(n) + 1) / len(n)
    posterior = _Posterior(n, y, weights)
    samples = posterior.draw(num_samples, np.random.default_rng(seed))
    a, b, c = _best_fit(n, y, weights, posterior.best())
    return LearningCurve(a, b, c, samples)


class _Posterior:
    """The curve by its accuracies at the first and the last point, which data tell well, and c.

    For a given c the curve is linear in the two, so all but c has a closed form: sigma**2 is inverse gamma and the two
    are normal. What breaks 0 < a <= 1 or b >= 0 is drawn and thrown away, which is what a prior of zero there means.
    """

    def __init__(self, n: Array, y: Array, weights: Array) -> None:
        self.first, self.ratio = n[0], n[-1] / n[0]
        scaled = (n / self.first)[None, :] ** -_EXPONENTS[:, None]
        rise = (1 - scaled) / (1 - scaled[:, -1:])  # (C, R): from 0 at the first point to 1 at the last
        design = np.stack((1 - rise, rise), axis=-1)  # (C, R, 2)
        normal = np.einsum("crk,r,crl->ckl", design, weights, design)
        self.covariance = np.linalg.inv(normal)
        self.ends = np.einsum("ckl,crl,r->ck", self.covariance, design, weights * y)
        residuals = y - np.einsum("crk,ck->cr", design, self.ends)
        # Over the mean weight, so that the noise is that of the points and not the smaller one of their weighted sum.
        self.squares = _NOISE_POINTS * _NOISE**2 + residuals**2 @ weights / weights.mean()
        self.freedom = _NOISE_POINTS + len(n) - 2
        log = 0.5 * np.log(np.linalg.det(self.covariance)) - 0.5 * self.freedom * np.log(self.squares)
        self.mass = np.exp(log - log.max())
        self.mass /= self.mass.sum()
        self.level = (y @ weights / weights.sum(), self.squares.min() / self.freedom / weights.sum())

    def best(self) -> tuple[float, float, float]:
        """a, b, c where least squares can start from."""
        k = int(np.argmin(self.squares))
        a, b, c = self._curves(self.ends[k : k + 1], _EXPONENTS[k : k + 1])[0]
        return float(a), float(b), float(c)

    def draw(self, count: int, g: np.random.Generator) -> Array:
        kept: list[Array] = []
        for _ in range(_TRIES):
            k = g.choice(len(_EXPONENTS), size=_DRAWS * count, p=self.mass)
            sigma = np.sqrt(self.squares[k] / g.chisquare(self.freedom, len(k)))
            roots = np.linalg.cholesky(self.covariance)[k]
            ends = self.ends[k] + sigma[:, None] * np.einsum("skl,sl->sk", roots, g.standard_normal((len(k), 2)))
            rising = (ends[:, 1] >= ends[:, 0]) & (ends[:, 0] >= 0)
            curves = self._curves(ends[rising], _EXPONENTS[k][rising])
            kept.append(curves[curves[:, 0] <= 1])
            if sum(map(len, kept)) >= count:
                return np.concatenate(kept)[:count]
        return self._constant(count, g)

    def _constant(self, count: int, g: np.random.Generator) -> Array:
        """Points that clearly fall, or clearly leave the room below 1, fit no rising curve: what is left is b = 0."""
        mean, variance = self.level
        a = np.clip(mean + np.sqrt(variance) * g.standard_t(self.freedom, count), 1e-6, 1)
        return np.stack((a, np.zeros(count), g.choice(_EXPONENTS, count)), axis=1)

    def _curves(self, ends: Array, c: Array) -> Array:
        drop = (ends[:, 1] - ends[:, 0]) / (1 - self.ratio**-c)  # from the asymptote to the first point
        return np.stack((ends[:, 0] + drop, drop * self.first**c, c), axis=1)


def _best_fit(n: Array, y: Array, weights: Array, start: tuple[float, float, float]) -> tuple[float, float, float]:
    """Weighted least squares within the bounds, in a, the drop at the first point, and log(c)."""
    root, scaled = np.sqrt(weights), np.log(n / n[0])
    a, b, c = start
    low, high = np.array([1e-6, 0, np.log(_EXPONENTS[0])]), np.array([1, 1, np.log(_EXPONENTS[-1])])
    x0 = np.clip([a, b * n[0] ** -c, np.log(c)], low + 1e-9, high - 1e-9)

    def residuals(x: Array) -> Array:
        values: Array = root * (x[0] - x[1] * np.exp(-np.exp(x[2]) * scaled) - y)
        return values

    a, drop, c = least_squares(residuals, x0, bounds=(low, high), xtol=1e-12, ftol=1e-12, gtol=1e-12).x
    c = math.exp(c)
    return float(a), float(drop * n[0] ** c), c


_ENDS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)


def _mean_and_ends(values: Array) -> tuple[float, float, float]:
    low, high = np.quantile(values, _ENDS)
    return float(values.mean()), float(low), float(high)


def _curve(abc: Array, n: float) -> Array:
    a, b, c = abc
    values: Array = a - b * n**-c
    return values


def _checked(labels: Sequence[float], accuracy: Sequence[float]) -> tuple[Array, Array]:
    n, y = np.asarray(labels, dtype=np.float64), np.asarray(accuracy, dtype=np.float64)
    if n.ndim != 1 or n.shape != y.shape:
        raise DalError(f"accuracy: expected one value for each count of labels, got shapes {y.shape} and {n.shape}.")
    if len(n) < MIN_POINTS:
        raise bad_value("labels", f"at least {MIN_POINTS} points of a learning curve", len(n))
    if not (np.isfinite(n).all() and n[0] > 0 and (np.diff(n) > 0).all()):
        raise bad_value("labels", "positive counts that increase", n.tolist())
    if not ((y >= 0) & (y <= 1)).all():
        raise bad_value("accuracy", "shares from 0 to 1", y.tolist())
    return n, y
