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
    """A way to find neighbors. Made from an Embedding."""

    def search(self, queries: Tensor, num_neighbors: int) -> Tensor:
        """(Q,) int64 rows of the embedding to (Q, K) int64 rows, nearest first, never the query's own; K is
        ``num_neighbors``, or N - 1 if that is less. -1 stands where an approximate search found fewer."""
        ...


class Embedding(Euclidean):
    """(N, D) points in memory or on disk, read by blocks only. Making one reads them once, to check them.

    The points are handed out multiplied by a power of two where squares would overflow or vanish.

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
        # Any center that lies among the points will do.
        some = in_double(rows[:: max(1, len(rows) // 1024)]) * scale
        super().__init__(rows, scale, some.mean(dim=0))

    def exact(self, points: Tensor, centers: Tensor) -> Tensor:
        # Without a root, after which distances that differ in the last digit may be equal.
        return torch.from_numpy(np.square(points.numpy() - centers.numpy()).sum(axis=1))


@dataclass(frozen=True, eq=False)
class ExactNeighbors:
    """The true nearest neighbors by Euclidean distance; equal distances in the order of the rows.

    Products in float32 tell which points may be among the nearest, to within a bound on their rounding; those are
    settled by float64 sums of squared differences. So the answer for a query depends on the points alone: not on the
    block sizes, on the other queries, on the number of threads, nor on a common offset of the points. Where nearly all
    points are equal it is as slow as differences alone, and still as small: memory is that of a block, beside Q times
    K results.

    >>> points = torch.tensor([[0.0], [1.0], [3.0], [1.0], [9.0]])
    >>> ExactNeighbors(Embedding(points)).search(torch.tensor([2, 1]), 2)
    tensor([[1, 3],
            [3, 0]])
    """

    embedding: Embedding
    query_block: int = 1024
    block_values: int = 2**22

    def search(self, queries: Tensor, num_neighbors: int) -> Tensor:
        """As Neighbors.search. Raises DalError where ``num_neighbors`` is less than 1."""
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
    """Estimates of so many pairs are made in float32."""
    return low._replace(squares=low.squares.float())


class _Best:
    """The nearest so far of each query: squared distances (Q, K), ascending, and the rows that they belong to."""

    def __init__(self, num_queries: int, wanted: int) -> None:
        self.distances = torch.full((num_queries, wanted), torch.inf, dtype=torch.float64)
        self.indices = torch.full((num_queries, wanted), -1)

    def add(self, at: Tensor, indices: Tensor, distances: Tensor) -> None:
        """Take note of (P,) points, each seen from the query ``at``, in ascending order of queries and then rows."""
        changed, which, counts = torch.unique_consecutive(at, return_inverse=True, return_counts=True)
        if not len(changed):
            return
        wanted = self.indices.shape[1]
        place = torch.arange(len(at)) - (counts.cumsum(0) - counts)[which] + wanted
        distance = torch.full((len(changed), wanted + int(counts.max())), torch.inf, dtype=torch.float64)
        index = torch.full_like(distance, -1, dtype=torch.int64)
        distance[:, :wanted], index[:, :wanted] = self.distances[changed], self.indices[changed]
        distance[which, place], index[which, place] = distances, indices
        # Rows come in ascending order, so of equal distances the lowest row stays first.
        kept = distance.sort(dim=1, stable=True).indices[:, :wanted]
        self.distances[changed], self.indices[changed] = distance.gather(1, kept), index.gather(1, kept)


def _may_be_nearest(about: Tensor, off: Tensor, limit: Tensor, wanted: int) -> Tensor:
    """(Q, B) bool: the points whose squared distance, known to within ``off``, may not exceed the limit (Q,)."""
    lower = about - off
    is_open = lower <= limit[:, None]
    # Before the limit means anything nearly all would be settled; the block itself gives a better one.
    crowded = (is_open.sum(dim=1) > 2 * wanted).nonzero()[:, 0]
    if len(crowded):
        upper = about.index_select(0, crowded) + off.index_select(0, crowded)
        # Faster than torch.kthvalue.
        upper = torch.from_numpy(np.partition(upper.numpy(), wanted - 1, axis=1)[:, wanted - 1])
        limit = limit.index_put((crowded,), torch.minimum(limit[crowded], upper))
        is_open = lower <= limit[:, None]
    # The query's own row: an infinite distance is within an infinite limit.
    return is_open & (lower < torch.inf)
