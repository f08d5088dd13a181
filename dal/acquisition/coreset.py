"""Core-set: label the points that lie farthest from everything labeled so far (k-center, greedily)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dal.acquisition.base import (
    AcquisitionFunction,
    PoolModel,
    Selection,
    Summary,
    check_dims,
    check_finite,
    check_query_size,
    in_double,
    row_blocks,
    unit_scale,
)
from dal.errors import bad_value

__all__ = ["CoreSet", "k_center_greedy"]


def k_center_greedy(features: Tensor, labeled_features: Tensor, query_size: int) -> Tensor:
    """The greedy k-center choice (arXiv:1708.00489): again and again the point farthest from its nearest center.

    The centers are the labeled points and the points taken before; distances are Euclidean. With no labeled point the
    first choice is the point nearest to the mean of the pool. Ties go to the lowest position.

    Every distance that decides is a float64 sum of squared differences, so near-ties, duplicates and features with a
    large common offset come out as they should. Beside the features it holds one distance a point and blocks of fixed
    size.

    Args:
        features: (N, D) of the pool, any floating dtype.
        labeled_features: (M, D), M may be 0.
        query_size: Q, from 1 to N.

    Returns:
        (Q,) int64 on the CPU: distinct rows of ``features`` in the order they were taken.

    Raises:
        DalError: a shape or ``query_size`` is not as above.
        NonFiniteError: a feature is NaN or infinite.

    >>> k_center_greedy(torch.tensor([[0.0], [1.0], [5.0], [9.0]]), torch.tensor([[0.0]]), 2)
    tensor([3, 2])
    """
    return _greedy(features, labeled_features, query_size).positions


@dataclass(frozen=True)
class CoreSet(AcquisitionFunction):
    """``k_center_greedy`` on the input of the last layer.

    A point's score is its distance to the nearest center when it was taken, or to the mean of the pool if there was
    no center yet.
    """

    needs_labeled: ClassVar[bool] = True

    def summarize(self, model: PoolModel, x: Tensor) -> Summary:
        features = model.features(x)
        check_finite("features", features)
        return (features,)

    def select(self, pool: Summary, labeled: Summary, query_size: int, generator: torch.Generator) -> Selection:
        (features,) = pool
        return _greedy(features, labeled[0] if labeled else features[:0], query_size)


def _greedy(features: Tensor, labeled: Tensor, query_size: int) -> Selection:
    check_dims("features", features, "N, D")
    check_dims("labeled_features", labeled, "M, D")
    if labeled.shape[1] != features.shape[1]:
        raise bad_value("labeled_features", f"{features.shape[1]} features a point, as in the pool", labeled.shape[1])
    check_query_size(query_size, len(features))
    check_finite("features", features)
    check_finite("labeled_features", labeled)
    labeled = labeled.to(features.device)
    scale = unit_scale(features, labeled)
    mean = _mean(features, scale)

    # None while there is no center; then each point's distance to its nearest, and -1 for the points taken.
    distances = _distances_to_nearest(features, labeled, mean, scale) if len(labeled) else None
    positions, scores = [], []
    for _ in range(query_size):
        if distances is None:
            distances = torch.full((len(features),), torch.inf, dtype=mean.dtype, device=mean.device)
            to_mean = _minimum_with(distances.clone(), features, mean, scale)
            pick = int(to_mean.argmin())
            scores.append(float(to_mean[pick]) / scale)
        else:
            pick = int(distances.argmax())
            scores.append(float(distances[pick]) / scale)
        positions.append(pick)
        _minimum_with(distances, features, in_double(features[pick]) * scale, scale)
        distances[pick] = -1
    return Selection(torch.tensor(positions), torch.tensor(scores, dtype=torch.float64))


def _mean(features: Tensor, scale: float) -> Tensor:
    """(D,) float64, of the scaled features."""
    blocks = row_blocks(*features.shape)
    total = torch.stack([(in_double(features[block]) * scale).sum(dim=0) for block in blocks]).sum(dim=0)
    return total / len(features)


def _minimum_with(distances: Tensor, features: Tensor, center: Tensor, scale: float) -> Tensor:
    """Lower ``distances`` (N,), in place, to those from one more center (D,), which is scaled already."""
    for block in row_blocks(*features.shape):
        rows = in_double(features[block]) * scale
        distances[block] = torch.minimum(distances[block], _by_difference(rows, center[None])[:, 0])
    return distances


def _by_difference(x: Tensor, y: Tensor) -> Tensor:
    """Distances (..., P, R) of (..., P, D) from (..., R, D): a pair's does not depend on what stands beside it."""
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


def _distances_to_nearest(features: Tensor, centers: Tensor, mean: Tensor, scale: float) -> Tensor:
    """(N,) distances of the scaled features to the nearest of the centers (M, D), as if all were by differences.

    A matrix product, |x|² - 2x·c + |c|², tells which center may be the nearest, to within a bound on its rounding;
    the few pairs that the bound leaves open are settled by differences. Taking the mean away first keeps a common
    offset from making the bound large. Where it leaves all open (points that differ in their last bits only) this is
    as slow as differences alone, and still as small.
    """
    # Equal centers would leave each other open for every point.
    centers = torch.unique(centers, dim=0)
    width = features.shape[1]
    # Rounding is below (2D + 12) units of half an epsilon, of |x|² + |c|²; twice and more of that costs nothing.
    slack = 4 * (width + 16) * torch.finfo(mean.dtype).eps
    nearest = torch.full((len(features),), torch.inf, dtype=mean.dtype, device=mean.device)
    for center_block in row_blocks(len(centers), max(width, 1024)):
        c = in_double(centers[center_block]) * scale
        c_centered = c - mean
        c_squared = c_centered.square().sum(dim=1)
        for block in row_blocks(len(features), max(width, len(c))):
            x = in_double(features[block]) * scale
            x_centered = x - mean
            size = x_centered.square().sum(dim=1, keepdim=True) + c_squared
            about = size - 2 * (x_centered @ c_centered.T)
            likely = about.argmin(dim=1)
            best = torch.minimum(nearest[block], _of_pairs(x, c, torch.arange(len(x), device=x.device), likely))
            is_open = about - slack * size < best.square()[:, None]
            is_open.scatter_(1, likely[:, None], False)
            rows, columns = is_open.nonzero(as_tuple=True)
            nearest[block] = best.scatter_reduce(0, rows, _of_pairs(x, c, rows, columns), "amin")
    return nearest


def _of_pairs(x: Tensor, c: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Distances by difference of x[rows] from c[columns], (P,)."""
    found = x.new_empty(len(rows))
    for pairs in row_blocks(len(rows), x.shape[1]):
        found[pairs] = _by_difference(x[rows[pairs], None], c[columns[pairs], None])[:, 0, 0]
    return found
