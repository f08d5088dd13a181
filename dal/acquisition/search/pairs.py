"""Pairwise distances in blocks of rows."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from dal.acquisition.search.flops import add_flops
from dal.acquisition.search.numbers import block_values, row_blocks

_MOST_PAIRS = 2**19


class Pairs:
    """Squared distances between points (N, D) float64, from float64 products.

    exact() computes the few distances that their rounding errors could affect.
    """

    def __init__(self, points: Tensor) -> None:
        self.points = points
        # A common offset would make the rounding errors large relative to the distances.
        origin = points.mean(dim=0) if len(points) else points.new_zeros(points.shape[1])
        self._points = points - origin
        self._squares = self._points.square().sum(dim=1)

    def blocks(self, rows: Tensor) -> Iterator[Tensor]:
        """Split ``rows`` into parts whose pairs fit into a block."""
        yield from (rows[block] for block in row_blocks(len(rows), len(self.points), _MOST_PAIRS))

    def squares(self, rows: Tensor) -> Tensor:
        """Return (R, N) squared distances with relative errors of about 1e-15 times D of the squared lengths."""
        add_flops(2 * len(rows) * len(self.points) * self.points.shape[1])
        products = self._points[rows] @ self._points.T
        return products.mul_(-2).add_(self._squares[rows, None]).add_(self._squares)

    def exact(self, rows: Tensor, other_rows: Tensor) -> Tensor:
        """Return the (P,) distances of P pairs, computed from differences."""
        found, most = self.points.new_empty(len(rows)), block_values(self.points.numel(), 2**20)
        for block in row_blocks(len(rows), self.points.shape[1], most):
            differences = self.points[rows[block]].sub_(self.points[other_rows[block]])
            found[block] = torch.linalg.vector_norm(differences, dim=1)
        return found
