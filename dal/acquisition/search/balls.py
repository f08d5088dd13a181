"""Pairs of points closer than a radius, from bounded float32 products and exact float64 differences."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from dal.acquisition.search.flops import add_flops
from dal.acquisition.search.geometry import Euclidean, near_mean
from dal.acquisition.search.lloyd import all_low
from dal.acquisition.search.numbers import row_blocks
from dal.acquisition.search.rows import UnitRows

_MOST_PAIRS = 2**21

_BOUNDARY = 1e-12
"""Distances below a radius by less than this fraction of it count as outside, since rounding could decide them."""


class Close:
    """Pairs of close rows of ``points`` (N, D) and ``others`` (M, D), both of length 1 and float64.

    Holds float32 copies of both.
    """

    def __init__(self, points: UnitRows, others: UnitRows | None = None) -> None:
        origin = near_mean(points, 1.0)
        self._high = points, points if others is None else others
        first = Euclidean(points, 1.0, origin)
        low = all_low(first)
        self._low = low, low if others is None else all_low(Euclidean(others, 1.0, origin))
        self._squares = [x.square().sum(dim=1) for x in self._low]
        largest = float(self._squares[1].max()) if len(self._squares[1]) else 0.0
        self._off = first.slack * (self._squares[0].double() + largest) + first.smallest

    def blocks(self, rows: Tensor) -> Iterator[Tensor]:
        """Split ``rows`` into parts whose pairs fit into a block."""
        yield from (rows[block] for block in row_blocks(len(rows), len(self._low[1]), _MOST_PAIRS))

    def within(self, rows: Tensor, radius: float) -> Tensor:
        """Return an (R, M) bool mask of distances below ``radius``."""
        about, off = self._about(rows), self._off[rows]
        least = min(radius, 1e15) ** 2 - self._squares[0][rows].double()
        inside = about < _down(least - off - 4 * _BOUNDARY * min(radius, 1e15) ** 2)[:, None]
        is_open = (about <= _up(least + off)[:, None]).logical_xor_(inside)
        open_rows, open_others = is_open.nonzero().unbind(dim=1)
        if len(open_rows):
            inside[open_rows, open_others] = self.exact(rows[open_rows], open_others) < radius * (1 - _BOUNDARY)
        return inside

    def nearest(self, rows: Tensor, is_excluded: Tensor) -> Tensor:
        """Return the (R,) distances to the nearest other point that the (R, M) mask does not exclude; inf if none."""
        about = self._about(rows).masked_fill_(is_excluded, torch.inf)
        reach = _up(about.amin(dim=1).double() + 2 * self._off[rows])
        pairs, which = ((about <= reach[:, None]) & (about < torch.inf)).nonzero().unbind(dim=1)
        found = self._off.new_full((len(rows),), torch.inf)
        return found.scatter_reduce(0, pairs, self.exact(rows[pairs], which), "amin")

    def exact(self, rows: Tensor, other_rows: Tensor) -> Tensor:
        """Return the (P,) distances of P pairs, computed from differences."""
        points, others = self._high
        found = torch.empty(len(rows), dtype=torch.float64)
        for block in row_blocks(len(rows), points.shape[1]):
            differences = points[rows[block]] - others[other_rows[block]]
            found[block] = torch.linalg.vector_norm(differences, dim=1)
        return found

    def _about(self, rows: Tensor) -> Tensor:
        """Return the (R, M) squared distances minus the squared lengths of the points at ``rows``."""
        points, others = self._low
        add_flops(2 * len(rows) * len(others) * points.shape[1])
        return torch.addmm(self._squares[1], points[rows], others.T, alpha=-2)


class BallGraph:
    """The neighbors of each point within a radius, stored as lists if there are at most ``most_edges``.

    Otherwise, the neighbors are computed again when they are needed.
    """

    def __init__(self, points: UnitRows, radius: float, most_edges: int) -> None:
        self._close, self._radius, count = Close(points), radius, len(points)
        self.degrees = torch.zeros(count, dtype=torch.int64)
        parts: list[Tensor] | None = []
        for rows in self._close.blocks(torch.arange(count)):
            inside = self._ball(rows)
            self.degrees[rows] = inside.sum(dim=1)
            if parts is not None:
                parts.append(inside.nonzero()[:, 1].int())
                if int(self.degrees.sum()) > most_edges:
                    parts = None
        self._neighbors = None if parts is None else torch.cat(parts)
        self._ends = self.degrees.cumsum(dim=0)

    def ball(self, row: int) -> Tensor:
        """Return the neighbors of a point, in ascending order. A point is its own neighbor."""
        if self._neighbors is None:
            return self._ball(torch.tensor([row]))[0].nonzero()[:, 0]
        return self._neighbors[self._ends[row] - self.degrees[row] : self._ends[row]].long()

    def counts(self, rows: Tensor) -> Tensor:
        """Return for each point the number of ``rows`` in its ball."""
        found = torch.zeros_like(self.degrees)
        if self._neighbors is None:
            for block in self._close.blocks(rows):
                found += self._ball(block).sum(dim=0)
            return found
        # Balls are symmetric.
        balls = [self.ball(row) for row in rows.tolist()]
        return torch.bincount(torch.cat(balls), minlength=len(found)) if balls else found

    def _ball(self, rows: Tensor) -> Tensor:
        inside = self._close.within(rows, self._radius)
        inside[torch.arange(len(rows)), rows] = True  # a radius of 0 has no distance below it
        return inside


def _up(values: Tensor) -> Tensor:
    """Round float64 numbers up to float32."""
    return torch.nextafter(values.float(), torch.tensor(torch.inf))


def _down(values: Tensor) -> Tensor:
    """Round float64 numbers down to float32."""
    return torch.nextafter(values.float(), torch.tensor(-torch.inf))
