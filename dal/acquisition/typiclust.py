"""TypiClust: label the most typical point of each large unlabeled cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dal.acquisition.base import AcquisitionFunction, PoolModel, Selection, Summary, check_query_size
from dal.acquisition.search.clusters import k_means, labeled_features, unit_points
from dal.acquisition.search.numbers import check_finite, check_whole
from dal.acquisition.search.pairs import Pairs
from dal.errors import bad_value

__all__ = ["TypiClust", "typicality", "typiclust_select"]


def typicality(features: Tensor, num_neighbors: int = 20) -> Tensor:
    """The inverse of the mean distance to the nearest neighbors (arXiv:2202.02794).

    Args:
        features: (N, D) of the points of one cluster, any floating dtype; scaled to length 1 here.
        num_neighbors: K, at least 1; all others where there are no more.

    Returns:
        (N,) float64; the largest finite number where all neighbors are equal to the point, or there is none.

    Raises:
        DalError: a shape or ``num_neighbors`` is not as above.
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
    """The choice of TypiClust from given clusters (arXiv:2202.02794).

    Again and again a cluster is taken and its most typical point that is left. Clusters with the fewest labeled or
    chosen points come first, of those the largest (labeled points count), of those the one with the lowest number.
    Clusters of fewer than ``min_cluster_size`` points come only where the others have no point left. Typicality looks
    at the neighbors in the cluster, labeled ones too. Ties go to the lowest position.

    Args:
        features: (N + L, D) of the pool and after it the labeled points, any floating dtype; scaled to length 1 here.
        clusters: (N + L,) int64 from 0, the cluster of each.
        num_labeled: L.
        query_size: Q, from 1 to N.
        num_neighbors: as in ``typicality``.
        min_cluster_size: 1 allows all.

    Returns:
        (Q,) int64 on the CPU: distinct rows of the pool, never numbers of clusters.

    Raises:
        DalError: a shape or number is not as above.
        NonFiniteError: a feature is NaN or infinite.

    >>> features = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.8, 0.2], [0.0, 1.0]])
    >>> typiclust_select(features, torch.tensor([0, 0, 0, 1]), 0, 2, min_cluster_size=1)
    tensor([1, 3])
    """
    points = unit_points("features", features)
    check_query_size(query_size, len(points) - num_labeled)
    check_whole("num_neighbors", num_neighbors)
    check_whole("min_cluster_size", min_cluster_size)
    if clusters.shape != (len(points),):
        raise bad_value("clusters", f"one for each of {len(points)} points", tuple(clusters.shape))
    return _select(points, clusters.cpu(), num_labeled, query_size, num_neighbors, min_cluster_size).positions


@dataclass(frozen=True)
class TypiClust(AcquisitionFunction):
    """``typiclust_select`` on the input of the last layer, which the paper takes from a self-supervised network.

    k-means makes as many clusters as there are labeled and asked-for points, of pool and labeled points together. A
    point's score is its typicality.

    Args:
        max_clusters: Clusters at most, at least 1.
        num_neighbors: Nearest neighbors by which ``typicality`` is measured, at least 1.
        min_cluster_size: Points of the smallest cluster that does not come last.
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
        others = unit_points("labeled_features", labeled_features(labeled, features))
        points = torch.cat([unit_points("features", features), others])
        clusters, _ = k_means(points, min(len(others) + query_size, self.max_clusters), generator)
        return _select(points, clusters, len(others), query_size, self.num_neighbors, self.min_cluster_size)


def _select(
    points: Tensor, clusters: Tensor, num_labeled: int, query_size: int, num_neighbors: int, min_cluster_size: int
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
        distances = pairs.exact(rows.repeat_interleave(count), neighbors.flatten())
        mean[rows] = distances.reshape(len(rows), count).mean(dim=1)
    return mean.reciprocal().clamp_(max=torch.finfo(torch.float64).max)
