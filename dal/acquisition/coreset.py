"""Core-set: label the points farthest from all labeled ones (greedy k-center)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dal.acquisition.base import (
    KeptRows,
    PoolModel,
    Selection,
    ShardedFunction,
    Summary,
    check_dims,
    check_query_size,
)
from dal.acquisition.search.geometry import Euclidean, near_mean
from dal.acquisition.search.nearest import CHUNK, Centers, NearestCenters, nearest_point
from dal.acquisition.search.numbers import check_finite, row_blocks, safe_scale
from dal.acquisition.search.rows import Rows, all_rows, check_rows, distinct, ready
from dal.acquisition.search.shards import Shard
from dal.acquisition.search.small_pool import SmallPool, is_small
from dal.errors import bad_value
from dal.runtime.precision import full_precision

__all__ = ["CoreSet", "k_center_greedy"]


def k_center_greedy(
    features: Rows, labeled_features: Rows, query_size: int, *, memory_budget: int | None = None
) -> Tensor:
    """Select points by greedy k-center (arXiv:1708.00489).

    Each step selects the point farthest from its nearest center in Euclidean distance. The centers are the labeled
    points and the points selected before. Without labeled points, the first selection is the point nearest to the mean
    of the pool. Ties go to the lowest position.

    The result matches the definition exactly. Every distance that decides a step is a float64 sum of squared
    differences, so near-ties, duplicates and features with a large common offset are correct. (For float64 features,
    differences below about 1e-150 of the largest feature count as zero.) Distances of points that cannot be selected
    are not updated. In addition to its inputs, the function holds about 30 bytes per point, a copy of the centers and
    blocks of fixed size.

    Args:
        features: (N, D) of the pool, any floating dtype; a tensor or DiskRows.
        labeled_features: (M, D), M may be 0.
        query_size: Q, from 1 to N.
        memory_budget: maximum bytes held in addition to the inputs; None means no limit.

    Returns:
        (Q,) int64 on the CPU: distinct rows of ``features`` in the order of selection.

    Raises:
        DalError: a shape or ``query_size`` is invalid, or the budget is too small.
        NonFiniteError: a feature is NaN or infinite.

    >>> k_center_greedy(torch.tensor([[0.0], [1.0], [5.0], [9.0]]), torch.tensor([[0.0]]), 2)
    tensor([3, 2])
    """
    check_dims("features", features, "N, D")
    return _greedy(features, labeled_features, query_size, Shard.alone(len(features), memory_budget)).positions


@dataclass(frozen=True)
class CoreSet(ShardedFunction):
    """Selects with ``k_center_greedy`` on the inputs of the last layer.

    A point's score is its distance to the nearest center when it was selected. Without any center, it is the distance
    to the mean of the pool.
    """

    keeps: ClassVar[tuple[str, ...]] = ("features",)
    tasks: ClassVar[tuple[str, ...] | None] = None
    uses_labeled_points: ClassVar[bool] = True

    def summarize(self, model: PoolModel, x: Tensor) -> Summary:
        features = model.features(x)
        check_finite("features", features)
        return {"features": features}

    def select_in(
        self,
        shard: Shard,
        pool: KeptRows,
        labeled: Summary,
        query_size: int,
        generator: torch.Generator,
    ) -> Selection:
        features = pool["features"]
        return _greedy(features, labeled["features"] if labeled else features[:0], query_size, shard)


def _greedy(features: Rows, labeled: Rows, query_size: int, shard: Shard) -> Selection:
    check_query_size(query_size, shard.total)
    with shard.agreed():
        check_dims("features", features, "N, D")
        check_dims("labeled_features", labeled, "M, D")
        features, labeled = ready(features), ready(labeled)
        if labeled.shape[1] != features.shape[1]:
            expected = f"{features.shape[1]} features per point, as in the pool"
            raise bad_value("labeled_features", expected, labeled.shape[1])
        largest = max(
            check_rows("features", features, shard.offset, shard.total), check_rows("labeled_features", labeled)
        )
        shard.check_memory(features.shape[1], len(labeled) + query_size)
    centers = all_rows(labeled).to(features.device)
    is_distinct = distinct(centers)
    if not bool(is_distinct.all()):
        # Bounds cannot rule out either of two equal centers, so every point would need exact distances.
        centers = centers[is_distinct]
    scale = safe_scale(shard.largest(largest))
    with full_precision(features.device), torch.inference_mode():
        positions, distances = _take(features, centers, scale, query_size, shard)
    return Selection(torch.tensor(positions), torch.tensor(distances, dtype=torch.float64))


def _take(
    features: Rows, labeled: Tensor, scale: float, query_size: int, shard: Shard
) -> tuple[list[int], list[float]]:
    """Return the positions in the order of selection, and their scores."""
    origin = near_mean(features, scale)
    points = Euclidean(features, scale, origin)
    if shard.group is None and is_small(points):
        return _take_few(points, Euclidean(labeled, scale, origin), query_size, shard)
    centers = Centers(points, Euclidean(labeled, scale, origin), query_size)
    nearest = NearestCenters(points, centers)
    positions: list[int] = []
    distances: list[float] = []

    def take(square: float, position: int) -> None:
        position_here = position - shard.offset
        row = None
        if 0 <= position_here < shard.size:
            nearest.take(position_here)
            row = points.high(torch.tensor([position_here], device=points.device))[0]
        positions.append(position)
        distances.append(math.sqrt(square) / scale)
        # Once all points coincide with centers, no distance can change.
        if square > 0 or not centers.count:
            centers.add(shard.from_owner(position, row, points.width))

    if centers.count:
        nearest.lower_all(min(CHUNK, centers.count))
    else:
        take(*_nearest_to_mean(points, shard))
        nearest.lower_all(1)
    while len(positions) < query_size:
        take(*shard.best(*nearest.largest(nearest.squares, lambda rows, squares: squares)))
    return positions, distances


def _take_few(points: Euclidean, labeled: Euclidean, query_size: int, shard: Shard) -> tuple[list[int], list[float]]:
    """Take from a pool that fits in a cache."""
    pool = SmallPool(points, labeled)
    to_mean = None
    if not len(labeled):
        to_mean, first = _nearest_to_mean(points, shard)
        pool.take(first)
    while len(pool.picks) < query_size:
        square, position = pool.largest(None, None, lambda rows, squares: squares)
        if square <= 0:
            # All points coincide with centers, so no distance can change.
            left = (pool.upper >= 0).nonzero()[: query_size - len(pool.picks), 0]
            for position in left.tolist():
                pool.take(position, is_center=False)
            break
        pool.take(position)
    squares = pool.scores().tolist()
    if to_mean is not None:
        squares[0] = to_mean
    return pool.picks, [math.sqrt(square) / points.scale for square in squares]


def _nearest_to_mean(points: Euclidean, shard: Shard) -> tuple[float, int]:
    """Find the point nearest to the pool's mean: (squared distance, position)."""
    total = torch.zeros(points.width, dtype=torch.float64)
    for block in row_blocks(len(points), points.width):
        total += points.high(block).sum(dim=0).cpu()
    mean = shard.total_of(total) / shard.total
    square, position = nearest_point(points, mean)
    negative, position = shard.best(-square, position)
    return -negative, position
