"""ProbCover: label points whose neighborhoods cover most of the uncovered pool."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dal.acquisition.base import KeptRows, PoolModel, Selection, ShardedFunction, Summary, check_query_size
from dal.acquisition.search.balls import BallGraph, Close
from dal.acquisition.search.clusters import k_means, labeled_features, points_of, unit_rows
from dal.acquisition.search.numbers import check_finite, check_whole
from dal.acquisition.search.rows import UnitRows
from dal.acquisition.search.shards import Shard
from dal.errors import bad_value
from dal.runtime.ranges import Range

__all__ = ["ProbCover", "probcover_select", "purest_delta"]


_MOST_BYTES, _BYTES_AN_EDGE = 2**30, 8  # 4 bytes, and as many while the lists are joined


def purest_delta(features: Tensor, pseudo_labels: Tensor, purity: float = 0.95) -> float:
    """Find the largest radius with a given share of pure balls (arXiv:2205.11320).

    The ball of a point holds the points at a distance below the radius. It is pure if they all have the same label. A
    ball is therefore pure for every radius up to the distance to the nearest point with another label. The result is a
    quantile of these distances, so no grid of radii is needed. Features are normalized to length 1. The computation
    takes about 2 N² D operations in blocks of fixed size.

    Args:
        features: (N, D), any floating dtype.
        pseudo_labels: (N,) whole numbers, such as cluster indices.
        purity: share of balls that must be pure, above 0 and at most 1.

    Returns:
        A distance from 0 to 2; infinity if all labels are equal.

    Raises:
        DalError: a shape or ``purity`` is invalid.
        NonFiniteError: a feature is NaN or infinite.

    >>> features = torch.tensor([[1.0, 0.0], [0.96, 0.28], [0.0, 1.0]])
    >>> round(purest_delta(features, torch.tensor([0, 0, 1]), purity=0.5), 3)
    1.2
    """
    return _purest_delta(unit_rows("features", features), pseudo_labels, purity)


def probcover_select(
    features: Tensor, labeled_features: Tensor, query_size: int, delta: float, generator: torch.Generator
) -> Tensor:
    """Select a greedy cover of the pool (arXiv:2205.11320).

    The ball of a point holds the pool points at a distance below ``delta``, by Euclidean distance between features
    normalized to length 1. The balls of the labeled points are covered from the start. Each step selects the point
    whose ball holds the most uncovered points and covers that ball. Ties go to the lowest position. Once the whole pool
    is covered, the rest of the query is drawn uniformly from the remaining points.

    The neighbor graph is computed once, with 2 N² D operations, and takes 4 bytes per pair of neighbors. If it exceeds
    1 GiB or half of the memory budget, the ball of each newly covered point is computed again instead, at most once per
    point.

    Args:
        features: (N, D) of the pool, any floating dtype.
        labeled_features: (L, D), L may be 0.
        query_size: Q, from 1 to N.
        delta: the radius, above 0.
        generator: on the CPU; used only once the whole pool is covered.

    Returns:
        (Q,) int64 on the CPU: distinct rows of ``features`` in the order they were selected.

    Raises:
        DalError: a shape, ``query_size`` or ``delta`` is invalid.
        NonFiniteError: a feature is NaN or infinite.

    >>> features = torch.tensor([[1.0, 0.0], [1.0, 0.1], [1.0, 0.2], [0.0, 1.0]])
    >>> probcover_select(features, features[:0], 2, 0.15, torch.Generator())
    tensor([1, 3])
    """
    points, others = unit_rows("features", features), unit_rows("labeled_features", labeled_features)
    check_query_size(query_size, len(points))
    _check_delta(delta)
    return _cover(points, others, query_size, delta, generator).positions


@dataclass(frozen=True)
class ProbCover(ShardedFunction):
    """Selects with ``probcover_select`` on the inputs of the last layer.

    The paper uses features of a self-supervised network. A point's score is the number of points that it newly covered,
    or 0 if it was drawn after the pool was covered.

    Args:
        delta: Radius of a ball, above 0; null computes one in each round. ``purest_delta`` computes it, with k-means
            clusters of the pool and labeled points as the labels.
        purity: Share of balls that must be pure, used if delta is null.
        num_clusters: Number of k-means clusters if delta is null; null uses the number of classes, as in the paper.
    """

    keeps: ClassVar[tuple[str, ...]] = ("features", "num_classes")
    uses_labeled_points: ClassVar[bool] = True

    delta: float | None = None
    purity: float = 0.95
    num_clusters: int | None = None

    def __post_init__(self) -> None:
        if self.delta is not None:
            _check_delta(self.delta)
        _check_purity(self.purity)
        if self.num_clusters is not None:
            check_whole("num_clusters", self.num_clusters, 2)
        if self.delta is not None or self.num_clusters is not None:
            object.__setattr__(self, "keeps", ("features",))

    def summarize(self, model: PoolModel, x: Tensor) -> Summary:
        features = model.features(x)
        check_finite("features", features)
        if "num_classes" not in self.keeps:
            return {"features": features}
        logits = model.head(features)
        check_finite("logits", logits)
        # The number is the same for every point. select() receives only rows, so each row carries it.
        num_classes = features.new_full((len(features),), logits.shape[1], dtype=torch.float32)
        return {"features": features, "num_classes": num_classes}

    def select_in(
        self,
        shard: Shard,
        pool: KeptRows,
        labeled: Summary,
        query_size: int,
        generator: torch.Generator,
    ) -> Selection:
        found = shard.gather(pool)
        features = found["features"]
        check_query_size(query_size, len(features))
        known = labeled_features(labeled, features)
        points, others = unit_rows("features", features), unit_rows("labeled_features", known)
        delta = self.delta
        if delta is None:
            everything = UnitRows(points_of("features", features), points_of("labeled_features", known))
            num_clusters = int(found["num_classes"][0]) if self.num_clusters is None else self.num_clusters
            pseudo_labels, _ = k_means(everything, min(num_clusters, len(everything)), generator)
            delta = _purest_delta(everything, pseudo_labels, self.purity)
        return _cover(
            points,
            others,
            query_size,
            delta,
            generator,
            shard.room if shard.memory_budget is None else shard.memory_budget,
        )


def _check_delta(delta: float) -> None:
    Range(0, 10**6, "a radius", above=True).check("delta", delta)


def _check_purity(purity: float) -> None:
    Range(0, 1, "a share", above=True).check("purity", purity)


def _purest_delta(points: UnitRows, pseudo_labels: Tensor, purity: float) -> float:
    _check_purity(purity)
    if pseudo_labels.shape != (len(points),) or not len(points):
        raise bad_value("pseudo_labels", f"shape ({len(points)},), one label per point", tuple(pseudo_labels.shape))
    close, labels = Close(points), pseudo_labels.cpu()
    pure_up_to = torch.full((len(points),), torch.inf, dtype=torch.float64)
    for rows in close.blocks(torch.arange(len(points))):
        pure_up_to[rows] = close.nearest(rows, labels[rows, None] == labels)
    # A product such as 0.95 * 20 can exceed its exact value by rounding, and ceil() would then count a ball too many.
    num_pure = max(1, math.ceil(round(purity * len(points), 9)))
    return float(pure_up_to.sort(descending=True).values[num_pure - 1])


def _cover(
    points: UnitRows,
    others: UnitRows,
    query_size: int,
    delta: float,
    generator: torch.Generator,
    memory_budget: int | None = None,
) -> Selection:
    uncovered = torch.ones(len(points), dtype=torch.bool)
    if len(others):
        to_labeled = Close(points, others)
        for rows in to_labeled.blocks(torch.arange(len(points))):
            uncovered[rows] = ~to_labeled.within(rows, delta).any(dim=1)
    most = _MOST_BYTES if memory_budget is None else min(_MOST_BYTES, memory_budget // 2)
    graph = BallGraph(points, delta, most // _BYTES_AN_EDGE)
    newly = graph.degrees - graph.counts((~uncovered).nonzero()[:, 0])
    positions: list[int] = []
    scores: list[float] = []
    left = torch.ones(len(points), dtype=torch.bool)
    while len(positions) < query_size and bool(uncovered.any()):
        best = int(torch.where(left, newly, -1).argmax())
        if int(newly[best]) == 0:
            break
        positions.append(best)
        scores.append(float(newly[best]))
        left[best] = False
        inside = graph.ball(best)
        inside = inside[uncovered[inside]]
        uncovered[inside] = False
        newly -= graph.counts(inside)
    rest = left.nonzero().flatten()
    drawn = rest[torch.randperm(len(rest), generator=generator)[: query_size - len(positions)]]
    scores += [0.0] * len(drawn)
    return Selection(torch.tensor(positions + drawn.tolist()), torch.tensor(scores, dtype=torch.float64))
