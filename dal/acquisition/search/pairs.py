"""Pairwise distances in blocks of rows."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from dal.acquisition.search.flops import add_flops
from dal.acquisition.search.numbers import row_blocks

_MOST_PAIRS = 2**21

_BOUNDARY = 1e-12
"""Distances below a radius by less than this fraction of it count as outside, since rounding could decide them."""


class Pairs:
    """Squared distances between two sets of points, from float64 products.

    The sets are ``points`` (N, D) float64 and ``others`` (M, D) float64, by default the same points. slack() bounds the
    rounding errors, so exact() needs to compute only the few distances that these errors could affect.
    """

    def __init__(self, points: Tensor, others: Tensor | None = None) -> None:
        self.points, self.others = points, points if others is None else others
        # A common offset would make the rounding errors large relative to the distances.
        origin = points.mean(dim=0) if len(points) else points.new_zeros(points.shape[1])
        self._points, self._others = self.points - origin, self.others - origin
        self._squares, self._other_squares = (x.square().sum(dim=1) for x in (self._points, self._others))
        self._slack = 1e-15 * (points.shape[1] + 8)

    def blocks(self, rows: Tensor) -> Iterator[Tensor]:
        """Split ``rows`` into parts whose pairs fit into a block."""
        yield from (rows[block] for block in row_blocks(len(rows), len(self.others), _MOST_PAIRS))

    def squares(self, rows: Tensor) -> Tensor:
        """Return (R, M) squared distances with errors of at most slack()."""
        add_flops(2 * len(rows) * len(self.others) * self.points.shape[1])
        products = self._points[rows] @ self._others.T
        return products.mul_(-2).add_(self._squares[rows, None]).add_(self._other_squares)

    def slack(self, rows: Tensor) -> Tensor:
        """Return the (R, 1) error bounds of squares()."""
        largest = self._other_squares.max() if len(self.others) else 0.0
        return self._slack * (self._squares[rows, None] + largest)

    def exact(self, rows: Tensor, other_rows: Tensor) -> Tensor:
        """Return the (P,) distances of P pairs, computed from differences."""
        found = self.points.new_empty(len(rows))
        for block in row_blocks(len(rows), self.points.shape[1]):
            differences = self.points[rows[block]] - self.others[other_rows[block]]
            found[block] = torch.linalg.vector_norm(differences, dim=1)
        return found

    def within(self, rows: Tensor, radius: float) -> Tensor:
        """Return an (R, M) bool mask of distances below ``radius``."""
        squares, slack = self.squares(rows), self.slack(rows) + 4 * _BOUNDARY * min(radius, 1e150) ** 2
        square = radius**2 if radius < 1e150 else torch.inf
        inside = squares < square
        open_rows, open_others = ((squares - square).abs_() <= slack).nonzero().unbind(dim=1)
        if len(open_rows):
            exact = self.exact(rows[open_rows], open_others)
            inside[open_rows, open_others] = exact < radius * (1 - _BOUNDARY)
        return inside
