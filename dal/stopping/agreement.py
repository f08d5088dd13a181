"""How far predictions of the same points agree, from one model to the next."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from dal.errors import DalError

Predictions = Sequence[int]


def cohen_kappa(first: Predictions, second: Predictions) -> float:
    """Cohen's kappa of two lists of N predicted classes: agreement beyond chance, 1 where all are equal.

    Chance is what the two would agree on if each kept its class frequencies and drew at random. Where both predict one
    and the same class throughout, which makes kappa 0 / 0, it is 1.

    Raises DalError for no predictions, and for lists of different lengths.

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
    """The mean of Cohen's kappa over all pairs of these models' predictions, at least two of them.

    >>> mean_pairwise_kappa([[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 0]])
    0.6666666666666666
    """
    if len(predictions) < 2:
        raise DalError(f"predictions: expected those of at least 2 models, got {len(predictions)}.")
    return float(np.mean([cohen_kappa(a, b) for a, b in combinations(predictions, 2)]))


def changed_share(before: Predictions, after: Predictions) -> float:
    """The share of N points whose predicted class is another one than before.

    >>> changed_share([0, 0, 1, 1], [0, 0, 1, 0])
    0.25
    """
    a, b = _pair(before, after)
    return float((a != b).mean())


def _pair(first: Predictions, second: Predictions) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    a, b = np.asarray(first, dtype=np.int64), np.asarray(second, dtype=np.int64)
    if not len(a) or len(a) != len(b):
        raise DalError(f"predictions: expected two of the same points, at least one, got {len(a)} and {len(b)}.")
    return a, b
