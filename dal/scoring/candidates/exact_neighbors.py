"""Exact nearest neighbors, computed in blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dal.acquisition.search.geometry import Euclidean, Low
from dal.acquisition.search.numbers import in_double, row_blocks, safe_scale
from dal.acquisition.search.rows import ArrayRows, DiskRows, check_table
from dal.errors import bad_value
from dal.runtime.precision import full_precision

Floats = NDArray[np.floating[Any]]


class Neighbors(Protocol):
    """Searches for nearest neighbors in an Embedding."""

    def search(self, queries: Tensor, num_neighbors: int) -> Tensor:
        """Return the nearest neighbors of rows of the embedding.

        queries: (Q,) int64 rows. Returns (Q, K) int64 rows, nearest first, without the query itself. K is
        ``num_neighbors``, or N - 1 if that is less. If an approximate search finds fewer, the rest is -1.
        """
        ...


class Embedding(Euclidean):
    """(N, D) points in memory or on disk, read in blocks.

    The constructor reads all points once to check them. If squares of the values would overflow or vanish, the points
    are scaled by a power of two.

    Raises:
        DalError: ``points`` are not floating-point numbers of shape (N, D), both at least 1.
        NonFiniteError: a value is NaN or infinite.

    >>> embedding = Embedding(torch.tensor([[3.0, 0.0], [-8.0, 1.0]]))
    >>> len(embedding), embedding.width, embedding.high([1]).tolist()
    (2, 2, [[-8.0, 1.0]])
    """

    def __init__(self, points: Tensor | Floats | DiskRows) -> None:
        argument = "candidates.features_file"
        if isinstance(points, Tensor):
            points = points.detach().cpu()
        rows = points if isinstance(points, Tensor | DiskRows) else ArrayRows(np.asanyarray(points), argument)
        scale = safe_scale(check_table(argument, rows))
        # Any center among the points is suitable.
        some = in_double(rows[:: max(1, len(rows) // 1024)]) * scale
        super().__init__(rows, scale, some.mean(dim=0))

    def exact(self, points: Tensor, centers: Tensor) -> Tensor:
        # A root could make distances equal that differ in the last digit.
        return torch.from_numpy(np.square(points.numpy() - centers.numpy()).sum(axis=1))


@dataclass(frozen=True, eq=False)
class ExactNeighbors:
    """Finds the exact nearest neighbors by Euclidean distance.

    Equal distances are in the order of the rows. Float32 products, with a bound on their rounding error, determine
    which points may be among the nearest. Float64 sums of squared differences then rank these points. The result for a
    query therefore depends only on the points. It does not depend on the block sizes, the other queries, the number of
    threads or a common offset of the points. If nearly all points are equal, the search is as slow as one that computes
    all differences. It always needs the memory of one block in addition to the Q x K results.

    >>> points = torch.tensor([[0.0], [1.0], [3.0], [1.0], [9.0]])
    >>> ExactNeighbors(Embedding(points)).search(torch.tensor([2, 1]), 2)
    tensor([[1, 3],
            [3, 0]])
    """

    embedding: Embedding
    query_block: int = 1024
    block_values: int = 2**22

    def search(self, queries: Tensor, num_neighbors: int) -> Tensor:
        """See Neighbors.search; raises DalError if ``num_neighbors`` is below 1."""
        if num_neighbors < 1:
            raise bad_value("num_neighbors", "at least 1", num_neighbors)
        wanted = min(num_neighbors, len(self.embedding) - 1)
        with full_precision(self.embedding.device), torch.inference_mode():
            blocks = row_blocks(len(queries), 1, self.query_block)
            found = [self._search(queries[block], wanted) for block in blocks]
        return torch.cat([torch.empty(0, wanted, dtype=torch.int64), *found])

    def _search(self, queries: Tensor, wanted: int) -> Tensor:
        e, best = self.embedding, _Best(len(queries), wanted)
        if not wanted:
            return best.indices
        q = e.high(queries)
        q_low = _single(e.low_of(q))
        for block in row_blocks(len(e), max(e.width, len(queries)), self.block_values):
            x = e.high(block)
            about, off = e.estimates(q_low, _single(e.low_of(x)))
            own = queries - block.start
            inside = ((own >= 0) & (own < len(x))).nonzero()[:, 0]
            about[inside, own[inside]] = torch.inf
            is_open = _may_be_nearest(about, off, best.distances[:, -1].float(), wanted)
            at, column = is_open.nonzero(as_tuple=True)
            distances = q.new_empty(len(at))
            for pairs in row_blocks(len(at), e.width, 2**18):
                distances[pairs] = e.exact(q.index_select(0, at[pairs]), x.index_select(0, column[pairs]))
            best.add(at, column + block.start, distances)
        return best.indices


def _single(low: Low) -> Low:
    """Convert the squares to float32, which is faster for many pairs."""
    return low._replace(squares=low.squares.float())


class _Best:
    """The nearest points found so far for each query.

    ``distances`` are (Q, K) squared distances, ascending, and ``indices`` are the rows of these points.
    """

    def __init__(self, num_queries: int, wanted: int) -> None:
        self.distances = torch.full((num_queries, wanted), torch.inf, dtype=torch.float64)
        self.indices = torch.full((num_queries, wanted), -1)

    def add(self, at: Tensor, indices: Tensor, distances: Tensor) -> None:
        """Add the distances of P pairs of a query and a point.

        ``at``, ``indices`` and ``distances`` are (P,), sorted by query ``at`` and then by row.
        """
        changed, which, counts = torch.unique_consecutive(at, return_inverse=True, return_counts=True)
        if not len(changed):
            return
        wanted = self.indices.shape[1]
        place = torch.arange(len(at)) - (counts.cumsum(0) - counts)[which] + wanted
        distance = torch.full((len(changed), wanted + int(counts.max())), torch.inf, dtype=torch.float64)
        index = torch.full_like(distance, -1, dtype=torch.int64)
        distance[:, :wanted], index[:, :wanted] = self.distances[changed], self.indices[changed]
        distance[which, place], index[which, place] = distances, indices
        # Rows are added in ascending order, so a stable sort puts the lowest of equal distances first.
        kept = distance.sort(dim=1, stable=True).indices[:, :wanted]
        self.distances[changed], self.indices[changed] = distance.gather(1, kept), index.gather(1, kept)


def _may_be_nearest(about: Tensor, off: Tensor, limit: Tensor, wanted: int) -> Tensor:
    """Return which points may be among the nearest, (Q, B) bool.

    The squared distance of such a point, known up to the error ``off``, may be at most the limit, (Q,).
    """
    lower = about - off
    is_open = lower <= limit[:, None]
    # Early limits exclude almost no point. The wanted-th smallest upper bound of this block is a better limit.
    crowded = (is_open.sum(dim=1) > 2 * wanted).nonzero()[:, 0]
    if len(crowded):
        upper = about.index_select(0, crowded) + off.index_select(0, crowded)
        # Faster than torch.kthvalue.
        upper = torch.from_numpy(np.partition(upper.numpy(), wanted - 1, axis=1)[:, wanted - 1])
        limit = limit.index_put((crowded,), torch.minimum(limit[crowded], upper))
        is_open = lower <= limit[:, None]
    # The query's own row has an infinite distance, which an infinite limit would include.
    return is_open & (lower < torch.inf)
