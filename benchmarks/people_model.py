"""A classifier whose quality does not depend on training luck: ridge regression with an RBF kernel on pixels.

This module has no command: see people.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics.pairwise import rbf_kernel
from torch import Tensor

from dal.data import load
from dal.data.images import ImageSplits
from dal.data.sets.digits import Digits
from dal.data.sets.fashion_mnist import FashionMNIST
from dal.runtime.seeding import derive_seed

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]

SETS = {"digits": Digits, "fashion_mnist": FashionMNIST}
RIDGE = 0.1
SHARPNESS = 8.0  # turns the regression of one-hot labels into log-probabilities


@dataclass(frozen=True)
class Problem:
    """A pool and a test set, reduced to the kernels between their images."""

    classes: list[str]
    labels: Whole  # (N,)
    test_labels: Whole  # (T,)
    pool_kernel: Floats  # (N, N)
    test_kernel: Floats  # (T, N)

    def fit(self, points: Sequence[int], labels: Sequence[int]) -> Floats:
        """Return (n, C) weights of the labeled points."""
        targets = np.eye(len(self.classes))[list(labels)] - 1 / len(self.classes)
        kernel = self.pool_kernel[np.ix_(points, points)]
        return np.linalg.solve(kernel + RIDGE * np.eye(len(points)), targets)

    def log_probs(self, points: Sequence[int], weights: Floats, rows: Sequence[int]) -> Tensor:
        """Return (R, C) log-probabilities of these rows of the pool."""
        # Whole rows of the symmetric kernel are copied faster than columns.
        outputs = (weights.T @ self.pool_kernel[list(points)])[:, list(rows)].T
        return torch.from_numpy(SHARPNESS * outputs).log_softmax(dim=1)

    def accuracy(self, points: Sequence[int], labels: Sequence[int]) -> float:
        """Return the test accuracy, in percent, of a model that trains on these labels."""
        outputs = self.test_kernel[:, points] @ self.fit(points, labels)
        return 100 * float((outputs.argmax(axis=1) == self.test_labels).mean())


@cache
def splits(name: str) -> ImageSplits:
    return load(SETS[name]())


def problem(name: str, seed: int, pool: int, test: int) -> Problem:
    """Return the problem of a data set, with a pool and a test set of at most these sizes, drawn by the seed."""
    train, held_out = splits(name)
    assert held_out is not None
    rng = np.random.default_rng(derive_seed(seed, "people"))
    rows, test_rows = (rng.permutation(len(data))[:count] for data, count in ((train, pool), (held_out, test)))
    x, test_x = (
        data.source.batch(chosen.tolist()).flatten(1).double().numpy() / 255
        for data, chosen in ((train, rows), (held_out, test_rows))
    )
    gamma = 1 / (x.shape[1] * x.var())
    return Problem(
        list(train.classes),
        train.labels[rows].numpy(),
        held_out.labels[test_rows].numpy(),
        rbf_kernel(x, gamma=gamma),
        rbf_kernel(test_x, x, gamma=gamma),
    )
