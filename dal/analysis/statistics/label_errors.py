"""The estimated number of wrong labels, from out-of-fold probabilities (confident learning, arXiv:1911.00068)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def confident_joint(labels: Ints, probabilities: Floats) -> Ints:
    """Return (C, C) numbers of points by told class and by the class that the model is confident of.

    labels: (n,), probabilities: (n, C) out of fold. A model is confident of a class if its probability is at least the
    mean over the points that are told to be of the class. With several, the most probable class of all counts, as in
    cleanlab. Points without such a class do not count.

    >>> confident_joint(np.array([0, 0, 1, 1]), np.array([[0.9, 0.1], [0.1, 0.9], [0.2, 0.8], [0.4, 0.6]])).tolist()
    [[1, 1], [0, 1]]
    """
    number = probabilities.shape[1]
    counts = np.bincount(labels, minlength=number)
    sums = np.bincount(labels, probabilities[np.arange(len(labels)), labels], number)
    limits = np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)
    confident = probabilities >= limits - 1e-6
    counted = confident.any(axis=1)
    several = confident.sum(axis=1) > 1
    guess = np.where(several, probabilities.argmax(axis=1), confident.argmax(axis=1))
    pairs = labels[counted] * number + guess[counted]
    return np.bincount(pairs, minlength=number * number).reshape(number, number)


def estimated_joint(labels: Ints, probabilities: Floats) -> Floats:
    """Return (C, C) estimated shares of points by told and true class.

    labels: (n,), probabilities: (n, C) out of fold. Rows of the confident joint are scaled to the told labels.

    >>> estimated_joint(np.array([0, 0, 1, 1]), np.array([[0.9, 0.1], [0.1, 0.9], [0.2, 0.8], [0.4, 0.6]])).tolist()
    [[0.25, 0.25], [0.0, 0.5]]
    """
    joint = confident_joint(labels, probabilities)
    np.fill_diagonal(joint, np.maximum(joint.diagonal(), 1))
    counts = np.bincount(labels, minlength=len(joint))
    scaled = joint / joint.sum(axis=1, keepdims=True) * counts[:, None]
    return np.asarray(scaled / scaled.sum(), dtype=np.float64)


def estimated_errors(labels: Ints, probabilities: Floats) -> float:
    """Return the estimated number of wrong labels: n times what the joint has off its diagonal.

    >>> estimated_errors(np.array([0, 0, 1, 1]), np.array([[0.9, 0.1], [0.1, 0.9], [0.2, 0.8], [0.4, 0.6]]))
    1.0
    """
    return float(len(labels) * (1 - estimated_joint(labels, probabilities).trace()))
