"""k-means: label the points nearest to the centers of Q clusters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dal.acquisition.base import AcquisitionFunction, PoolModel, Selection, Summary, check_query_size
from dal.acquisition.search.clusters import k_means_picks, points_of
from dal.acquisition.search.numbers import check_finite

__all__ = ["KMeans", "k_means_select"]


def k_means_select(features: Tensor, query_size: int, generator: torch.Generator) -> Tensor:
    """Select the pool points nearest to the centers of Q clusters.

    This is the method of Zhdanov (arXiv:1901.05954) without weights. The clusters come from k-means with one greedy
    k-means++ start, in float32. If N · Q · D exceeds 2^31, they come from scikit-learn's mini-batches. Points of larger
    clusters come first. Each center takes the nearest point that no other center has taken, so the Q points are
    distinct even if clusters are empty or points are equal.

    Args:
        features: (N, D) of the pool, any floating dtype.
        query_size: Q, from 1 to N.
        generator: on the CPU; one number is drawn from it.

    Returns:
        (Q,) int64 on the CPU: rows of ``features``, not cluster indices.

    Raises:
        DalError: a shape or ``query_size`` is invalid.
        NonFiniteError: a feature is NaN or infinite.

    >>> features = torch.tensor([[0.0], [1.0], [2.0], [50.0], [51.0]])
    >>> k_means_select(features, 2, torch.Generator().manual_seed(0))
    tensor([1, 3])
    """
    return _select(features, query_size, generator).positions


@dataclass(frozen=True)
class KMeans(AcquisitionFunction):
    """Selects with ``k_means_select`` on the inputs of the last layer.

    A point's score is the number of points in its cluster.
    """

    keeps: ClassVar[tuple[str, ...]] = ("features",)
    tasks: ClassVar[tuple[str, ...] | None] = None

    def summarize(self, model: PoolModel, x: Tensor) -> Summary:
        features = model.features(x)
        check_finite("features", features)
        return {"features": features}

    def select(self, pool: Summary, labeled: Summary, query_size: int, generator: torch.Generator) -> Selection:
        return _select(pool["features"], query_size, generator)


def _select(features: Tensor, query_size: int, generator: torch.Generator) -> Selection:
    points = points_of("features", features)
    check_query_size(query_size, len(points))
    return Selection(*k_means_picks(points, query_size, generator))
