"""Nearest neighbors of some points of a set among all the others: exact, by blocks, whatever the set's size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dal.acquisition.search.numbers import row_blocks
from dal.errors import NonFiniteError, bad_value

Floats = NDArray[np.floating[Any]]
Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]

_TINY = float(np.finfo(np.float32).tiny)


class Neighbors(Protocol):
    """A way to find neighbors. Made from an Embedding."""

    def search(self, queries: Tensor, num_neighbors: int) -> Tensor:
        """(Q,) int64 rows of the embedding to (Q, K) int64 rows, nearest first, never the query's own; K is
        ``num_neighbors``, or N - 1 if that is less. -1 stands where an approximate search found fewer."""
        ...


class Embedding:
    """(N, D) points in memory or memory-mapped, read by blocks only. Making one reads them once, to check them.

    The points are handed out multiplied by a power of two, so that squares neither overflow nor vanish; that changes
    no order of distances.

    Raises:
        DalError: ``points`` are not floating-point numbers of shape (N, D), both at least 1.
        NonFiniteError: a value is NaN or infinite.

    >>> embedding = Embedding(torch.tensor([[3.0, 0.0], [-8.0, 1.0]]))
    >>> len(embedding), embedding.width, embedding.rows([1]).tolist()
    (2, 2, [[-0.5, 0.0625]])
    """

    def __init__(self, points: Tensor | Floats) -> None:
        array = _as_array(points)
        if array.ndim != 2 or not array.size or not np.issubdtype(array.dtype, np.floating):
            got = f"{array.dtype} of shape {array.shape}"
            raise bad_value("candidates.features_file", "floating-point numbers of shape (N, D)", got)
        self._array, self.width = array, array.shape[1]
        largest = 0.0
        for block in row_blocks(*array.shape):
            size = np.abs(np.asarray(array[block], dtype=np.float64)).max(axis=1)
            if not np.isfinite(size).all():
                row = int(np.flatnonzero(~np.isfinite(size))[0]) + block.start
                message = f"candidates.features_file: expected finite numbers, got NaN or infinity in row {row}."
                raise NonFiniteError(message, row)
            largest = max(largest, float(size.max()))
        self._scale = np.ldexp(1.0, -max(-1000, min(1000, int(np.frexp(largest)[1]))))
        # Any center that lies among the points will do: it keeps a common offset out of the products.
        self._center = self.rows(slice(None, None, max(1, len(self) // 1024))).mean(axis=0)

    def __len__(self) -> int:
        return len(self._array)

    def rows(self, which: slice | Integers | list[int]) -> Doubles:
        """(B, D) float64, scaled."""
        rows: Doubles = np.array(self._array[which], dtype=np.float64, order="C")
        rows *= self._scale
        return rows

    def centered(self, rows: Doubles) -> NDArray[np.float32]:
        """(B, D) float32: scaled rows with the center taken away, small enough for products in single precision."""
        low: NDArray[np.float32] = (rows - self._center).astype(np.float32)
        return low


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
        rows = queries.numpy()
        found = [self._search(rows[block], wanted) for block in row_blocks(len(rows), 1, self.query_block)]
        return torch.from_numpy(np.concatenate([np.empty((0, wanted), dtype=np.int64), *found]))

    def _search(self, queries: Integers, wanted: int) -> Integers:
        e, best = self.embedding, _Best(len(queries), wanted)
        if not wanted:
            return best.indices
        q = e.rows(queries)
        q_low = e.centered(q)
        q_squared = np.square(q_low).sum(axis=1)[:, None]
        # Rounding is below (2D + 12) units of half an epsilon, of |x|² + |q|², and of what underflows.
        slack, lost = np.float32(2 * (e.width + 16) * np.finfo(np.float32).eps), 8 * (e.width + 16) * _TINY
        for block in row_blocks(len(e), max(e.width, len(queries)), self.block_values):
            x = e.rows(block)
            x_low = e.centered(x)
            size = np.square(x_low).sum(axis=1)[None] + q_squared
            about = size - 2 * (q_low @ x_low.T)
            size *= slack
            size += np.float32(lost)
            own = queries - block.start
            inside = np.flatnonzero((own >= 0) & (own < len(x)))
            about[inside, own[inside]] = np.inf
            is_open = _may_be_nearest(about, size, best.distances[:, -1].astype(np.float32), wanted)
            at, column = np.nonzero(is_open)
            best.add(at, column + block.start, _squared_distances(q, x, at, column))
        return best.indices


class _Best:
    """The nearest so far of each query: squared distances (Q, K), ascending, and the rows that they belong to."""

    def __init__(self, num_queries: int, wanted: int) -> None:
        self.distances = np.full((num_queries, wanted), np.inf)
        self.indices = np.full((num_queries, wanted), -1, dtype=np.int64)

    def add(self, at: Integers, indices: Integers, distances: Doubles) -> None:
        """Take note of (P,) points, each seen from the query ``at``."""
        changed = np.unique(at)
        if not len(changed):
            return
        wanted = self.indices.shape[1]
        owner = np.concatenate([np.repeat(changed, wanted), at])
        distance = np.concatenate([self.distances[changed].ravel(), distances])
        index = np.concatenate([self.indices[changed].ravel(), indices])
        order = np.lexsort((index, distance, owner))
        starts = np.searchsorted(owner[order], changed)
        kept = order[starts[:, None] + np.arange(wanted)]
        self.distances[changed], self.indices[changed] = distance[kept], index[kept]


def _may_be_nearest(about: NDArray[np.float32], slack: NDArray[np.float32], limit: Any, wanted: int) -> Any:
    """(Q, B) bool: the points whose squared distance, known to within ``slack``, may not exceed the limit (Q,)."""
    lower = about - slack
    is_open = lower <= limit[:, None]
    # Before the limit means anything nearly all would be settled; the block itself gives a better one.
    crowded = np.flatnonzero(np.count_nonzero(is_open, axis=1) > 2 * wanted)
    if len(crowded):
        upper = np.partition(about[crowded] + slack[crowded], wanted - 1, axis=1)[:, wanted - 1]
        is_open[crowded] = lower[crowded] <= np.minimum(limit[crowded], upper)[:, None]
    # The query's own row: an infinite distance is within an infinite limit.
    return is_open & np.isfinite(about)


def _squared_distances(q: Doubles, x: Doubles, at: Integers, column: Integers) -> Doubles:
    """(P,) by differences of q[at] and x[column]: NumPy's sum of a row does not depend on the rows beside it."""
    found = np.empty(len(at))
    for pairs in row_blocks(len(at), x.shape[1], 2**18):
        found[pairs] = np.square(q[at[pairs]] - x[column[pairs]]).sum(axis=1)
    return found


def _as_array(points: Any) -> Any:
    if not isinstance(points, Tensor):
        return np.asanyarray(points)
    points = points.detach().cpu()
    # NumPy has no bfloat16.
    return (points.float() if points.dtype == torch.bfloat16 else points).numpy()
