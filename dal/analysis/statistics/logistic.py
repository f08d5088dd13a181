"""Multinomial logistic regression with an L2 penalty, fitted again for subsets of the same points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

STRENGTH = 0.1
"""Weight of the losses against half the squared norm of the coefficients: C of scikit-learn."""
_TOLERANCE = 1e-5
_MOST_ITERATIONS = 1000
_NEWTON_ITERATIONS = 50


def standardized(train: Floats, *others: Floats) -> list[Floats]:
    """Return features in units of the standard deviation of ``train``, each with a column of ones.

    train: (L, D). Each other: (n, D). Features that do not vary become 0. Values outside the range of float16 come from
    records of such values and are set to its ends. With more columns than points, the features are rotated into the
    space of ``train``, which changes no fit with an L2 penalty. Returns (L, E), then (n, E), with E <= min(L, D + 1).

    >>> standardized(np.array([[0.0, 5.0], [2.0, 5.0]]))[0].shape
    (2, 2)
    """
    most = float(np.finfo(np.float16).max)
    clean = [np.nan_to_num(np.asarray(x, np.float64), posinf=most, neginf=-most) for x in (train, *others)]
    center, scale = clean[0].mean(axis=0), clean[0].std(axis=0)
    varies = scale > 1e-6 * np.maximum(np.abs(center), 1e-6)
    scaled = [np.hstack([(x[:, varies] - center[varies]) / scale[varies], np.ones((len(x), 1))]) for x in clean]
    if scaled[0].shape[1] <= len(train):
        return scaled
    axes = np.linalg.qr(scaled[0].T)[0]
    return [x @ axes for x in scaled]


@dataclass(frozen=True, eq=False)
class Head:
    """A linear layer that minimizes strength * sum of cross-entropies + |weights|² / 2.

    The weight of the column of ones, the intercept, is penalized like the others, so that a class without labels has a
    finite logit.
    """

    weights: Floats
    """(E, C)."""

    def log_probs(self, features: Floats) -> Floats:
        """Return (n, C) log-probabilities in nats of features (n, E)."""
        return np.asarray(log_softmax(features @ self.weights, axis=1), dtype=np.float64)


def fit_head(
    features: Floats, labels: Ints, num_classes: int, start: Head | None = None, strength: float = STRENGTH
) -> Head:
    """Return the head fitted to points with features (n, E) and labels (n,).

    ``start`` speeds the fit up. The objective is strictly convex, so that the result does not depend on it.

    >>> head = fit_head(np.array([[-1.0], [1.0]]), np.array([0, 1]), 2)
    >>> int(head.log_probs(np.array([[2.0]])).argmax())
    1
    """
    rows = np.arange(len(labels))

    def objective(flat: Floats) -> tuple[float, Floats]:
        weights = flat.reshape(features.shape[1], num_classes)
        log_probs = log_softmax(features @ weights, axis=1)
        errors = np.exp(log_probs)
        errors[rows, labels] -= 1
        value = flat @ flat / 2 - strength * log_probs[rows, labels].sum()
        return float(value), (strength * (features.T @ errors) + weights).ravel()

    initial = np.zeros(features.shape[1] * num_classes) if start is None else start.weights.ravel()
    # The curvature is at least 1, so the gradient bounds the distance to the minimum.
    found = minimize(
        objective,
        initial,
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": _MOST_ITERATIONS, "maxfun": 2 * _MOST_ITERATIONS, "ftol": 0.0, "gtol": _TOLERANCE},
    )
    return Head(found.x.reshape(features.shape[1], num_classes))


def newton_step(features: Floats, labels: Ints, head: Head, strength: float = STRENGTH) -> Head:
    """Return the head after one Newton step towards the minimum for these points.

    features: (n, E), labels: (n,). Starting from the head of all labels, one step is close to the head without a few of
    them. Conjugate gradients solve for the step with products of the Hessian, which is never formed.
    """
    probabilities = np.exp(head.log_probs(features))
    errors = probabilities.copy()
    errors[np.arange(len(labels)), labels] -= 1

    def product(direction: Floats) -> Floats:
        change = features @ direction
        change = probabilities * (change - (probabilities * change).sum(axis=1, keepdims=True))
        return np.asarray(strength * (features.T @ change) + direction, dtype=np.float64)

    step = np.zeros_like(head.weights)
    rest = -(strength * (features.T @ errors) + head.weights)
    direction, size = rest, float((rest * rest).sum())
    goal = size * 1e-8
    for _ in range(_NEWTON_ITERATIONS):
        if size <= goal:
            break
        curved = product(direction)
        length = size / float((direction * curved).sum())
        step, rest = step + length * direction, rest - length * curved
        size, before = float((rest * rest).sum()), size
        direction = rest + size / before * direction
    return Head(head.weights + step)
