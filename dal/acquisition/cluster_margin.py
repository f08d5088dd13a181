"""Cluster-Margin: label ambiguous points from all clusters in turn, smallest cluster first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dal.acquisition.base import AcquisitionFunction, PoolModel, Selection, Summary, check_query_size, top_scores
from dal.acquisition.margin import margin_scores
from dal.acquisition.search.clusters import points_of
from dal.acquisition.search.flops import add_flops
from dal.acquisition.search.geometry import Euclidean, near_mean
from dal.acquisition.search.numbers import check_finite, check_whole, row_blocks, safe_scale
from dal.acquisition.search.rows import check_rows, distinct
from dal.errors import bad_value
from dal.runtime.ranges import Range

__all__ = ["ClusterMargin", "average_linkage", "cluster_margin_select"]


def average_linkage(features: Tensor, num_clusters: int) -> Tensor:
    """Cluster points by hierarchical agglomerative clustering (SciPy).

    Repeatedly joins the two clusters with the smallest average Euclidean distance between their points, until
    ``num_clusters`` are left. Tied joins can leave fewer clusters. Holds 8 N² bytes and takes N² D operations, which
    suits some thousands of points.

    Args:
        features: (N, D), any floating dtype.
        num_clusters: at least 1.

    Returns:
        (N,) int64 cluster numbers from 0.

    Raises:
        DalError: a shape or ``num_clusters`` is invalid.
        NonFiniteError: a feature is NaN or infinite.

    >>> average_linkage(torch.tensor([[0.0], [9.0], [0.1]]), 2)
    tensor([0, 1, 0])
    """
    check_whole("num_clusters", num_clusters)
    points = points_of("features", features)
    return _average_linkage(points.double() * safe_scale(check_rows("features", points)), num_clusters)


def cluster_margin_select(
    scores: Tensor, clusters: Tensor, query_size: int, generator: torch.Generator, factor: float = 10.0
) -> Tensor:
    """Select ambiguous points from given clusters in turn (arXiv:2107.14263).

    The candidates are the ``factor`` · Q points with the highest scores; the generator breaks ties. Each pass takes one
    random candidate from every cluster that has any left. The clusters are in ascending order of their numbers of
    candidates, with ties in ascending order of cluster number.

    Args:
        scores: (N,) floating point, 1 minus the margin, as ``margin_scores`` returns.
        clusters: (N,) int64, the cluster of each point.
        query_size: Q, from 1 to N.
        generator: on the CPU.
        factor: at least 1.

    Returns:
        (Q,) int64 on the CPU: distinct rows of ``scores``.

    Raises:
        DalError: a shape or number is invalid.
        NonFiniteError: a score is NaN or infinite.

    >>> scores, clusters = torch.tensor([0.9, 0.8, 0.7, 0.1]), torch.tensor([0, 0, 1, 1])
    >>> cluster_margin_select(scores, clusters, 1, torch.Generator().manual_seed(0), factor=3)
    tensor([2])
    """
    _check_factor(factor)
    check_query_size(query_size, len(scores))
    check_finite("scores", scores)
    if clusters.shape != scores.shape:
        raise bad_value("clusters", f"shape ({len(scores)},), as scores", tuple(clusters.shape))
    ambiguous = _ambiguous(scores, query_size, factor, generator)
    return _round_robin(ambiguous, clusters.cpu()[ambiguous], query_size, generator)


_CANCELS = 1e-3
"""Squared distances below this fraction of the squared lengths are computed again, from differences."""

_BLOCK = 2**19


@dataclass(frozen=True)
class ClusterMargin(AcquisitionFunction):
    """Selects with ``cluster_margin_select``; keeps D + 1 numbers per point.

    The clusters come from ``average_linkage`` on the inputs of the last layer. A point's score is 1 minus its margin.

    The paper clusters the whole pool once, with features of the first network. Here, every round clusters with its own
    features, so no state carries over between rounds. At most ``max_clustered`` points are clustered: the ambiguous
    points and random others. Further ambiguous points join the cluster of the nearest clustered point; ties go to
    the lowest position.

    Args:
        factor: Ambiguous points considered per point of the query, at least 1.
        num_clusters: Number of clusters to cut the tree into; null uses the query size.
        max_clustered: Maximum number of points to cluster. 5,000 points take about 200 MB.
    """

    keeps: ClassVar[tuple[str, ...]] = ("features", "scores")

    factor: float = 10.0
    num_clusters: int | None = None
    max_clustered: int = 5000

    def __post_init__(self) -> None:
        _check_factor(self.factor)
        check_whole("max_clustered", self.max_clustered, 2, most=50_000)
        if self.num_clusters is not None:
            check_whole("num_clusters", self.num_clusters)

    def summarize(self, model: PoolModel, x: Tensor) -> Summary:
        features = model.features(x)
        check_finite("features", features)
        return {"features": features, "scores": margin_scores(model.head(features))}

    def select(self, pool: Summary, labeled: Summary, query_size: int, generator: torch.Generator) -> Selection:
        features, scores = pool["features"], pool["scores"]
        check_query_size(query_size, len(scores))
        check_finite("scores", scores)
        points = points_of("features", features)
        ambiguous = _ambiguous(scores, query_size, self.factor, generator)
        clusters = self._clusters(points, ambiguous, query_size, generator)
        positions = _round_robin(ambiguous, clusters, query_size, generator)
        return Selection(positions, scores.detach().cpu().double()[positions])

    def _clusters(self, points: Tensor, ambiguous: Tensor, query_size: int, generator: torch.Generator) -> Tensor:
        """Return the (M,) clusters of the ambiguous points."""
        is_other = torch.ones(len(points), dtype=torch.bool)
        is_other[ambiguous] = False
        others = is_other.nonzero().flatten()
        # Ambiguous points come first. They are sorted by score, so a permutation picks which to cluster if they exceed
        # the limit.
        order = torch.randperm(len(ambiguous), generator=generator)[: self.max_clustered]
        room = self.max_clustered - len(order)
        drawn = others[torch.randperm(len(others), generator=generator)[:room]]
        rows = torch.cat([ambiguous[order].sort().values, drawn.sort().values])
        found, scale = torch.full((len(points),), -1), safe_scale(check_rows("features", points))
        clustered = points[rows].double() * scale
        found[rows] = _average_linkage(clustered, self.num_clusters or query_size)
        left = ambiguous[found[ambiguous] < 0]
        if len(left):
            rows = rows.sort().values
            found[left] = found[_nearest(points, scale, left, rows[distinct(points[rows])])]
        return found[ambiguous]


def _nearest(points: Tensor, scale: float, rows: Tensor, others: Tensor) -> Tensor:
    """Return the nearest of the other rows for each row; ties go to the first."""
    found, space = torch.empty_like(rows), Euclidean(points, scale, near_mean(points, scale))
    low = space.low(others)
    for block in row_blocks(len(rows), max(len(others), space.width), _BLOCK):
        about, off = space.estimates(space.low(rows[block]), low)
        reach = (about + off).amin(dim=1, keepdim=True)
        # Float64 differences decide between those that rounding can affect.
        which, places = (about - off <= reach).nonzero().unbind(dim=1)
        squares = low.squares.new_empty(len(which))
        for part in row_blocks(len(which), space.width):
            differences = space.high(rows[block][which[part]]) - space.high(others[places[part]])
            squares[part] = differences.square_().sum(dim=1)
        least = squares.new_full((len(reach),), torch.inf).scatter_reduce_(0, which, squares, "amin")
        is_least = squares == least[which]
        first = torch.full((len(reach),), len(others)).scatter_reduce_(0, which[is_least], places[is_least], "amin")
        found[block] = others[first]
    return found


def _check_factor(factor: float) -> None:
    Range(1, 10**6).check("factor", factor)


def _ambiguous(scores: Tensor, query_size: int, factor: float, generator: torch.Generator) -> Tensor:
    most = min(len(scores), int(min(factor * query_size, len(scores))))
    return top_scores(scores.detach(), most, generator).positions


def _average_linkage(points: Tensor, num_clusters: int) -> Tensor:
    # Imported here, because SciPy is slow to import and most functions do not need it.
    from scipy.cluster.hierarchy import fcluster, linkage

    if len(points) < 2:
        return torch.zeros(len(points), dtype=torch.int64)
    if num_clusters >= len(points):
        return torch.arange(len(points))
    tree = linkage(_distances(points).numpy(), method="average")
    # In older versions of SciPy, criterion="maxclust" always joins at least two points.
    height = tree[len(points) - num_clusters - 1, 2]
    return torch.from_numpy(fcluster(tree, height, criterion="distance")).long() - 1


def _distances(points: Tensor) -> Tensor:
    """Return the N (N - 1) / 2 distances between points in the order of SciPy's pdist, from float64 products."""
    count, width = points.shape
    add_flops(2 * count * (count - 1) // 2 * width)
    found, end = points.new_empty(count * (count - 1) // 2), 0
    mean = points.mean(dim=0)
    # Without an origin, the distances of whole numbers are exact, and so are their ties.
    is_far = bool(mean.square().sum() > 100 * (points - mean).square().sum(dim=1).mean())
    x = points - mean if is_far else points
    sizes = x.square().sum(dim=1)
    for block in row_blocks(count - 1, count, _BLOCK):
        rest = slice(block.start + 1, count)
        lengths = sizes[block, None] + sizes[rest]
        squares = lengths.addmm(x[block], x[rest].T, alpha=-2)
        # The others lose at most three digits to cancellation. Those before the diagonal are not used.
        rows, others = (squares < _CANCELS * lengths).triu_().nonzero().unbind(dim=1)
        distances = squares.clamp_(min=0).sqrt_()
        for part in row_blocks(len(rows), width):
            differences = points[block][rows[part]] - points[rest][others[part]]
            distances[rows[part], others[part]] = torch.linalg.vector_norm(differences, dim=1)
        for place, row in enumerate(distances):
            length = len(row) - place
            found[end : end + length] = row[place:]
            end += length
    return found


def _round_robin(points: Tensor, clusters: Tensor, query_size: int, generator: torch.Generator) -> Tensor:
    shuffled = torch.randperm(len(points), generator=generator)
    members: dict[int, list[int]] = {}
    for place in shuffled.tolist():
        members.setdefault(int(clusters[place]), []).append(int(points[place]))
    turns = sorted(members, key=lambda cluster: (len(members[cluster]), cluster))
    positions: list[int] = []
    for lap in range(len(points)):
        positions += [members[cluster][lap] for cluster in turns if lap < len(members[cluster])]
        if len(positions) >= query_size:
            break
    return torch.tensor(positions[:query_size])
