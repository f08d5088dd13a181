"""Comparison of representations: unbiased linear CKA and effective rank."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Outputs = NDArray[np.floating[Any]]


def unbiased_cka(x: Outputs, y: Outputs) -> float:
    """Return the linear centered kernel alignment of (n, D) and (n, E) outputs for the same n points.

    It divides unbiased estimates of the Hilbert-Schmidt independence criterion (Song et al., JMLR 2012; Nguyen et al.,
    arXiv:2010.15327), so that it does not approach 1 if n is small. It is 1 for equal outputs, also after a rotation or
    a change of scale, and near 0 for independent ones. NaN for fewer than 4 points and for constant outputs.

    >>> x = np.random.default_rng(0).standard_normal((50, 4))
    >>> round(unbiased_cka(x, 3 * x[:, ::-1] + 1), 6)
    1.0
    """
    if len(x) < 4:
        return math.nan
    one, other = (np.asarray(part, dtype=np.float64) - part.mean(axis=0, dtype=np.float64) for part in (x, y))
    scale = _hsic(one, one) * _hsic(other, other)
    return _hsic(one, other) / math.sqrt(scale) if scale > 0 else math.nan


def _hsic(x: Floats, y: Floats) -> float:
    """Return the unbiased estimate from the products of features, which takes n D E and not n^2 operations."""
    n = len(x)
    squares = [(one**2).sum(axis=1) for one in (x, y)]
    of_rows = [one @ one.sum(axis=0) - square for one, square in zip((x, y), squares, strict=True)]
    trace = float(((x.T @ y) ** 2).sum() - squares[0] @ squares[1])
    means = float(of_rows[0].sum() * of_rows[1].sum()) / ((n - 1) * (n - 2))
    return (trace + means - 2 * float(of_rows[0] @ of_rows[1]) / (n - 2)) / (n * (n - 3))


def effective_rank(outputs: Outputs) -> float:
    """Return exp of the entropy of the normalized singular values of (n, D) outputs (RankMe, arXiv:2210.02885).

    It lies between 1 and min(n, D). NaN if all outputs are 0.

    >>> round(effective_rank(np.eye(8)), 6), round(effective_rank(np.ones((8, 3))), 6)
    (8.0, 1.0)
    """
    x = np.asarray(outputs, dtype=np.float64)
    small = x.T @ x if x.shape[1] <= len(x) else x @ x.T
    values = np.sqrt(np.clip(np.linalg.eigvalsh(small), 0, None))
    # Rounding makes values of 1e-8 of zeros.
    shares = values[values > 1e-7 * values.max()] / values.sum() if values.any() else values[:0]
    return float(np.exp(-(shares * np.log(shares)).sum())) if len(shares) else math.nan


def cka_flops(n: int, width: int, other: int) -> int:
    """Return the FLOPs of unbiased_cka(): three products of features, of which two are symmetric."""
    return n * (width * width + 2 * width * other + other * other)


def rank_flops(n: int, width: int) -> int:
    """Return the FLOPs of effective_rank(): a symmetric product, and its reduction to three diagonals."""
    small = min(n, width)
    return n * width * small + 4 * small**3 // 3
