"""Shares of classes in unlabeled points, from a confusion matrix and the predictions on these points."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dal.errors import bad_value

Floats = NDArray[np.float64]

DRAWS = 200
FAR = 0.5


def share_draws(
    confusion: ArrayLike, predicted: ArrayLike, generator: np.random.Generator, draws: int = DRAWS
) -> Floats:
    """Return draws of the share of each class, (draws, C), NaN for classes without test points.

    confusion: (C, C) counts on test points, rows are their classes. predicted: (C,) counts of predictions on the
    unlabeled points. The predictions mu are a mixture of the rows P of the confusion matrix, so the shares solve
    P^T shares = mu (BBSE; Lipton et al., arXiv:1802.03916). Each draw takes the rows from their posterior
    Dirichlet(counts + 0.5/C), and mu from a multinomial distribution. A draw may be below 0 or above 1. The rows of
    classes without test points are unknown: the equations of points that are predicted as them are left out.

    Raises DalError for shapes that do not agree, and without predictions.

    >>> draws = share_draws([[90, 10], [0, 100]], [90, 910], np.random.default_rng(0))
    >>> np.median(draws, axis=0).round(2).tolist()
    [0.1, 0.9]
    """
    table, counts = np.asarray(confusion, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    num_classes = len(counts)
    if table.shape != (num_classes, num_classes):
        raise bad_value("confusion", f"shape ({num_classes}, {num_classes})", table.shape)
    if counts.sum() <= 0:
        raise bad_value("predicted", "at least one prediction", counts.tolist())
    tested = np.flatnonzero(table.sum(axis=1))
    found = np.full((draws, num_classes), np.nan)
    if not len(tested):
        return found
    rows = generator.standard_gamma(table[tested] + 0.5 / num_classes, size=(draws, len(tested), num_classes))
    rows /= rows.sum(axis=2, keepdims=True)
    total = round(float(counts.sum()))
    mixture = generator.multinomial(total, counts / counts.sum(), size=draws)[:, tested] / total
    found[:, tested] = _solve(rows[:, :, tested].transpose(0, 2, 1), mixture)
    return found


def share_limits(draws: ArrayLike, level: float = 0.95) -> tuple[Floats, Floats]:
    """Return lower and upper limits of the shares, (C,) each, each one-sided; NaN for unknown shares.

    draws: (draws, C) as share_draws returns them. A draw with a share far from 0 to 1 is of a matrix that has no useful
    inverse: it bounds no share.

    >>> low, high = share_limits([[0.1, 0.9], [0.2, 0.8], [-0.1, 1.1], [-9.0, 10.0]], level=0.5)
    >>> low.tolist(), high.tolist()
    ([0.0, 0.8], [0.2, 1.0])
    """
    shares = np.asarray(draws, dtype=np.float64)
    known = ~np.isnan(shares)
    useless = (known & ((shares < -FAR) | (shares > 1 + FAR))).any(axis=1, keepdims=True)
    lower, upper = np.where(useless & known, 0.0, shares), np.where(useless & known, 1.0, shares)
    low = np.quantile(lower, 1 - level, axis=0, method="lower")
    high = np.quantile(upper, level, axis=0, method="higher")
    return np.clip(low, 0.0, 1.0), np.clip(high, 0.0, 1.0)


def _solve(matrices: Floats, values: Floats) -> Floats:
    # A class that is never predicted can leave a column of zeros. The tiny diagonal turns its share into a huge number,
    # which share_limits() takes for none.
    diagonal = 1e-12 * np.eye(matrices.shape[1])
    with np.errstate(all="ignore"):
        solved = np.linalg.solve(matrices + diagonal, values[..., None])[..., 0]
    return np.asarray(np.nan_to_num(solved, nan=np.inf), dtype=np.float64)
