"""TypiClust: label the most typical point of each large unlabeled cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dal.acquisition.base import AcquisitionFunction, PoolModel, Selection, Summary, check_query_size
from dal.acquisition.search.clusters import k_means, labeled_features, points_of, unit_points, unit_rows
from dal.acquisition.search.numbers import check_finite, check_whole
from dal.acquisition.search.pairs import Pairs
from dal.acquisition.search.rows import UnitRows
from dal.errors import bad_value

__all__ = ["TypiClust", "typicality", "typiclust_select"]


def typicality(features: Tensor, num_neighbors: int = 20) -> Tensor:
    """Compute the inverse mean distance to the nearest neighbors (arXiv:2202.02794).

    Args:
        features: (N, D) of the points of one cluster, any floating dtype; the function normalizes them to length 1.
        num_neighbors: K, at least 1; all other points if there are at most K.

    Returns:
        (N,) float64; the largest finite number if all neighbors equal the point or there are none.

    Raises:
        DalError: a shape or ``num_neighbors`` is invalid.
        NonFiniteError: a feature is NaN or infinite.

    >>> typicality(torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), num_neighbors=1).round(decimals=3)
    tensor([1.1180, 1.5810, 1.5810], dtype=torch.float64)
    """
    check_whole("num_neighbors", num_neighbors)
    return _typicality(unit_points("features", features), num_neighbors)


def typiclust_select(
    features: Tensor,
    clusters: Tensor,
    num_labeled: int,
    query_size: int,
    *,
    num_neighbors: int = 20,
    min_cluster_size: int = 5,
) -> Tensor:
    """Select the most typical points of given clusters (arXiv:2202.02794).

    Each step selects a cluster and then the most typical of its remaining pool points. It prefers the cluster with the
    fewest labeled or selected points, then the largest (labeled points included), then the lowest index. Clusters of
    fewer than ``min_cluster_size`` points are used only if the others have no points left. Typicality is computed
    within the cluster, labeled points included. Ties go to the lowest position.

    Args:
        features: (N + L, D) of the pool followed by the labeled points, any floating dtype; the function normalizes
            them to length 1.
        clusters: (N + L,) int64 cluster indices from 0.
        num_labeled: L.
        query_size: Q, from 1 to N.
        num_neighbors: as in ``typicality``.
        min_cluster_size: at least 1, which allows all clusters.

    Returns:
        (Q,) int64 on the CPU: distinct rows of the pool, not cluster indices.

    Raises:
        DalError: a shape or number is invalid.
        NonFiniteError: a feature is NaN or infinite.

    >>> features = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.8, 0.2], [0.0, 1.0]])
    >>> typiclust_select(features, torch.tensor([0, 0, 0, 1]), 0, 2, min_cluster_size=1)
    tensor([1, 3])
    """
    points = unit_rows("features", features)
    check_query_size(query_size, len(points) - num_labeled)
    check_whole("num_neighbors", num_neighbors)
    check_whole("min_cluster_size", min_cluster_size)
    if clusters.shape != (len(points),):
        raise bad_value("clusters", f"shape ({len(points)},), one index per point", tuple(clusters.shape))
    return _select(points, clusters.cpu(), num_labeled, query_size, num_neighbors, min_cluster_size).positions


@dataclass(frozen=True)
class TypiClust(AcquisitionFunction):
    """Selects with ``typiclust_select`` on the inputs of the last layer.

    The paper uses features of a self-supervised network. k-means clusters the pool and labeled points together. The
    number of clusters is the number of labeled points plus the query size. A point's score is its typicality.

    Args:
        max_clusters: Maximum number of clusters, at least 1.
        num_neighbors: Number of nearest neighbors that define a point's typicality, at least 1.
        min_cluster_size: Minimum number of points of a cluster, at least 1; smaller clusters are used last.
    """

    keeps: ClassVar[tuple[str, ...]] = ("features",)
    tasks: ClassVar[tuple[str, ...] | None] = None
    uses_labeled_points: ClassVar[bool] = True

    max_clusters: int = 500
    num_neighbors: int = 20
    min_cluster_size: int = 5

    def __post_init__(self) -> None:
        for name in ("max_clusters", "num_neighbors", "min_cluster_size"):
            check_whole(name, getattr(self, name))

    def summarize(self, model: PoolModel, x: Tensor) -> Summary:
        features = model.features(x)
        check_finite("features", features)
        return {"features": features}

    def select(self, pool: Summary, labeled: Summary, query_size: int, generator: torch.Generator) -> Selection:
        features = pool["features"]
        check_query_size(query_size, len(features))
        others = points_of("labeled_features", labeled_features(labeled, features))
        points = UnitRows(points_of("features", features), others)
        clusters, _ = k_means(points, min(len(others) + query_size, self.max_clusters), generator)
        return _select(points, clusters, len(others), query_size, self.num_neighbors, self.min_cluster_size)


def _select(
    points: UnitRows, clusters: Tensor, num_labeled: int, query_size: int, num_neighbors: int, min_cluster_size: int
) -> Selection:
    num_pool = len(points) - num_labeled
    sizes = torch.bincount(clusters).tolist()
    covered = torch.bincount(clusters[num_pool:], minlength=len(sizes)).tolist()
    left = torch.bincount(clusters[:num_pool], minlength=len(sizes)).tolist()
    ranked: dict[int, list[tuple[float, int]]] = {}
    positions: list[int] = []
    scores: list[float] = []
    while len(positions) < query_size:
        cluster = min(
            (c for c in range(len(sizes)) if left[c]),
            key=lambda c: (sizes[c] < min_cluster_size, covered[c], -sizes[c], c),
        )
        if cluster not in ranked:
            rows = (clusters == cluster).nonzero().flatten()
            values = _typicality(points[rows], num_neighbors).tolist()
            found = [(-value, row) for value, row in zip(values, rows.tolist(), strict=True) if row < num_pool]
            ranked[cluster] = sorted(found, reverse=True)
        negative, position = ranked[cluster].pop()
        positions.append(position)
        scores.append(-negative)
        covered[cluster] += 1
        left[cluster] -= 1
    return Selection(torch.tensor(positions), torch.tensor(scores, dtype=torch.float64))


def _typicality(points: Tensor, num_neighbors: int) -> Tensor:
    count = min(num_neighbors, len(points) - 1)
    mean = points.new_zeros(len(points))
    pairs = Pairs(points)
    for rows in pairs.blocks(torch.arange(len(points))) if count > 0 else ():
        squares = pairs.squares(rows)
        squares[torch.arange(len(rows)), rows] = torch.inf
        neighbors = squares.topk(count, dim=1, largest=False).indices
        del squares  # before the next block
        distances = pairs.exact(rows.repeat_interleave(count), neighbors.flatten())
        mean[rows] = distances.reshape(len(rows), count).mean(dim=1)
    return mean.reciprocal().clamp_(max=torch.finfo(torch.float64).max)
