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
# Prior of the noise: one percentage point of accuracy, with the weight of two points.
_NOISE, _NOISE_POINTS = 0.01, 2
_DRAWS, _TRIES = 20, 25  # proposals per sample in one try, and number of tries


@dataclass(frozen=True, eq=False)
class LearningCurve:
    """A fitted learning curve, accuracy(n) = a - b * n**-c.

    ``n`` is the number of labels, with 0 < a <= 1, b >= 0 and c > 0. ``a``, ``b`` and ``c`` are the best fit.
    ``samples``, (S, 3) in the order a, b, c, are equally likely curves given the points. All intervals come from the
    samples. They are intervals of the curve, which has no noise of single rounds.
    """

    a: float
    b: float
    c: float
    samples: Array

    def at(self, n: float) -> Array:
        """Return the accuracy after ``n`` labels on each sampled curve, (S,)."""
        if not n > 0:
            raise bad_value("n", "more than 0 labels", n)
        return _curve(self.samples.T, float(n))

    def predict(self, n: float) -> tuple[float, float, float]:
        """Return the accuracy after ``n`` labels: mean and 95 % interval."""
        return _mean_and_ends(self.at(n))

    def gain(self, n: float, m: float) -> tuple[float, float, float]:
        """Return the gain in accuracy from ``n`` to ``m`` labels.

        Returns the mean and the ends of its 95 % interval, as fractions, not in percentage points.
        """
        return _mean_and_ends(self.at(m) - self.at(n))

    def labels_to_reach(self, target: float) -> tuple[float, float, float]:
        """Return the labels to reach ``target``: median and 95 % interval.

        Each is a quantile over the sampled curves, and infinite if the curve at that rank never reaches the target.
        """
        a, b, c = self.samples.T
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            labels = np.ceil((b / (a - target)) ** (1 / c))
        labels = np.sort(np.where(a > target, labels, math.inf))
        # By rank, since interpolation between infinite values is undefined.
        median, low, high = (float(labels[round(q * (len(labels) - 1))]) for q in (0.5, *_ENDS))
        return median, low, high


def fit_learning_curve(
    labels: Sequence[float], accuracy: Sequence[float], *, seed: int = 0, num_samples: int = 200
) -> LearningCurve:
    """Fit a power law to a learning curve.

    ``accuracy`` is (R,) from 0 to 1, measured after ``labels``, (R,) counts. Later points weigh more, since the next
    rounds resemble the last: the i-th of R points weighs i / R, as in Figueroa et al. 2012 (doi
    10.1186/1472-6947-12-8). The samples come from the posterior of a Bayesian fit. It assumes normal noise of unknown
    size, and flat priors for the accuracies at both ends of the curve and for log(c). With few points, the prior of the
    noise keeps the intervals wide; a bootstrap of the residuals finds no noise in three points. The same seed gives the
    same samples.

    Raises DalError for fewer than 3 points, labels that do not increase, and accuracies outside [0, 1].

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
    """Posterior of the first accuracy, the last accuracy and c.

    These three numbers define a curve. The data determine both accuracies well. For a given c the curve is linear in
    them, so all but c has a closed form: sigma**2 is inverse gamma, and both accuracies are normal. Draws that violate
    0 < a <= 1 or b >= 0 are rejected, which corresponds to a prior of zero there.
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
        # Dividing by the mean weight gives the noise of single points, not the smaller noise of their weighted sum.
        self.squares = _NOISE_POINTS * _NOISE**2 + residuals**2 @ weights / weights.mean()
        self.freedom = _NOISE_POINTS + len(n) - 2
        log = 0.5 * np.log(np.linalg.det(self.covariance)) - 0.5 * self.freedom * np.log(self.squares)
        self.mass = np.exp(log - log.max())
        self.mass /= self.mass.sum()
        self.level = (y @ weights / weights.sum(), self.squares.min() / self.freedom / weights.sum())

    def best(self) -> tuple[float, float, float]:
        """Return a, b, c as a start for least squares."""
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
        """Return constant curves (b = 0), if no rising curve fits."""
        mean, variance = self.level
        a = np.clip(mean + np.sqrt(variance) * g.standard_t(self.freedom, count), 1e-6, 1)
        return np.stack((a, np.zeros(count), g.choice(_EXPONENTS, count)), axis=1)

    def _curves(self, ends: Array, c: Array) -> Array:
        drop = (ends[:, 1] - ends[:, 0]) / (1 - self.ratio**-c)  # from the asymptote to the first point
        return np.stack((ends[:, 0] + drop, drop * self.first**c, c), axis=1)


def _best_fit(n: Array, y: Array, weights: Array, start: tuple[float, float, float]) -> tuple[float, float, float]:
    """Return the bounded weighted least-squares fit of a, b and c.

    The fit varies a, the drop at the first point, and log(c).
    """
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
