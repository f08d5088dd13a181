"""Agreement between the predictions of successive models on the same points."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from dal.errors import DalError

Predictions = Sequence[int]


def cohen_kappa(first: Predictions, second: Predictions) -> float:
    """Return Cohen's kappa of two lists of N predicted classes.

    Kappa is the agreement beyond chance; 1 means that all predictions are equal. Chance is the expected agreement of
    random predictions with the same class frequencies. If both lists predict a single common class, kappa is 0 / 0, and
    the function returns 1.

    Raises DalError for empty lists and for lists of different lengths.

    >>> cohen_kappa([0, 0, 1, 1], [0, 0, 1, 0])
    0.5
    """
    a, b = _pair(first, second)
    classes = np.unique(np.concatenate((a, b)))
    if len(classes) == 1:
        return 1.0
    shares = [(predicted[:, None] == classes).mean(axis=0) for predicted in (a, b)]
    by_chance = float(shares[0] @ shares[1])
    return (float((a == b).mean()) - by_chance) / (1 - by_chance)


def mean_pairwise_kappa(predictions: Sequence[Predictions]) -> float:
    """Return the mean Cohen's kappa over all pairs of models.

    >>> mean_pairwise_kappa([[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 0]])
    0.6666666666666666
    """
    if len(predictions) < 2:
        raise DalError(f"predictions: expected predictions of at least 2 models, got {len(predictions)}.")
    return float(np.mean([cohen_kappa(a, b) for a, b in combinations(predictions, 2)]))


def changed_share(before: Predictions, after: Predictions) -> float:
    """Return the share of N points whose predicted class has changed.

    >>> changed_share([0, 0, 1, 1], [0, 0, 1, 0])
    0.25
    """
    a, b = _pair(before, after)
    return float((a != b).mean())


def _pair(first: Predictions, second: Predictions) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    a, b = np.asarray(first, dtype=np.int64), np.asarray(second, dtype=np.int64)
    if not len(a) or len(a) != len(b):
        raise DalError(f"predictions: expected two non-empty lists of equal length, got {len(a)} and {len(b)}.")
    return a, b
