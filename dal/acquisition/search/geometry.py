"""Squared distances: bounded float32 products and exact float64 differences.

The products tell which few pairs matter, cheaply; what decides is always the second. Two searches are built on this,
which keep different things: ``nearest`` one falling bound a point, below which most points are never settled, and
``dal.scoring.candidates.exact_neighbors`` the K smallest distances of each query. ``pairs`` stays apart: it answers for
all pairs, so that its products are the result and have to be float64.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from dal.acquisition.search.flops import add_flops
from dal.acquisition.search.numbers import in_double, row_blocks
from dal.acquisition.search.rows import Rows, scaled

Index = slice | Tensor
"""Rows of the pool: a slice, or (B,) int64 positions."""


class Low(NamedTuple):
    """Some points in float32: their factors, and their squared lengths in float64 (B,)."""

    factors: tuple[Tensor, ...]
    squares: Tensor

    def at(self, rows: Index) -> Low:
        """Some of them."""
        return Low(tuple(factor[rows] for factor in self.factors), self.squares[rows])

    def append(self, at: int, other: Low) -> None:
        """Write another's rows into these, from ``at``."""
        for mine, theirs in zip((*self.factors, self.squares), (*other.factors, other.squares), strict=True):
            mine[at : at + len(theirs)] = theirs


class Geometry(ABC):
    """Points whose distances are asked for. ``width`` numbers make a point; all lengths are multiplied by ``scale``."""

    width: int
    scale: float
    device: torch.device

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def low(self, rows: Index) -> Low:
        """The points in float32."""

    @abstractmethod
    def high(self, rows: Index) -> Tensor:
        """The points in float64, (B, width): all that exact() needs of them."""

    @abstractmethod
    def low_of(self, high: Tensor) -> Low:
        """The same in float32 as low() gives."""

    @abstractmethod
    def products(self, points: Low, centers: Low) -> Tensor:
        """(B, P) float32 inner products."""

    @abstractmethod
    def exact(self, points: Tensor, centers: Tensor) -> Tensor:
        """Squared distances of (B, width) points from as many centers, pair by pair, (B,) float64.

        What a pair gives does not depend on what stands beside it but for the last digit, and is 0 for equal points.
        """

    def estimates(self, points: Low, centers: Low) -> tuple[Tensor, Tensor]:
        """(B, P) squared distances from products, and what each is off by at most; both of the squares' dtype."""
        size = points.squares[:, None] + centers.squares
        about = torch.sub(size, self.products(points, centers), alpha=2)
        return about, size.mul_(self.slack).add_(self.smallest)

    @property
    def slack(self) -> float:
        """The squared distance |x|² + |c|² - 2 x·c is off by less than this times |x|² + |c|².

        Each of ``width`` products and sums rounds by half a unit of float32 (2^-24) at most in any order, and so do
        the sums of squares; the entries and the last additions are in the 32.
        """
        return 2 * (self.width + 32) * 2.0**-24

    @property
    def smallest(self) -> float:
        """What squares and products can lose on top by falling below float32's range."""
        return (self.width + 32) * 2.0**-120


class Euclidean(Geometry):
    """Rows (N, D) as they are. ``origin`` (D,), which is scaled already, is taken away before anything is multiplied,
    since a common offset would drown the distances; any point near the middle does. In float32 it can be taken from
    float32 rows as they are; in float64 every row goes through float64."""

    def __init__(self, rows: Rows, scale: float, origin: Tensor) -> None:
        self.rows, self.scale, self.device = rows, scale, rows.device
        self.width = rows.shape[1]
        self._origin = origin.to(rows.device)

    def __len__(self) -> int:
        return len(self.rows)

    def low(self, rows: Index) -> Low:
        x = scaled(self.rows[rows], self.scale)
        # Both precisions take away the same.
        in_single = torch.promote_types(x.dtype, self._origin.dtype) == torch.float32
        return _low(x - self._origin) if in_single else self.low_of(in_double(x))

    def high(self, rows: Index) -> Tensor:
        return in_double(self.rows[rows]) * self.scale

    def low_of(self, high: Tensor) -> Low:
        return _low((high - self._origin).float())

    def products(self, points: Low, centers: Low) -> Tensor:
        add_flops(2 * len(points.squares) * len(centers.squares) * self.width)
        return points.factors[0] @ centers.factors[0].T

    def exact(self, points: Tensor, centers: Tensor) -> Tensor:
        add_flops(3 * len(points) * self.width)
        found = points.new_empty(len(points))
        for block in row_blocks(len(points), self.width):
            pairs = points[block, None], centers[block, None]
            distances = torch.cdist(*pairs, compute_mode="donot_use_mm_for_euclid_dist")
            found[block] = distances[:, 0, 0].square()
        return found


def _low(x: Tensor) -> Low:
    # float32 is enough for the squares: what they round off is within the slack.
    return Low((x,), in_double(torch.linalg.vector_norm(x, dim=1)).square())


class Gradients(Geometry):
    """Gradients g = a ⊗ h that exist only as their factors: errors a of C numbers, features h of D.

    ``scale`` must bring the features to 1 at most: what is lost where errors are too small to be multiplied in float32
    would be multiplied by the features.
    """

    def __init__(self, errors: Rows, features: Rows, scale: float) -> None:
        self.errors, self.features, self.scale, self.device = errors, features, scale, features.device
        self.num_classes = errors.shape[1]
        self.width = errors.shape[1] + features.shape[1]

    def __len__(self) -> int:
        return len(self.errors)

    def low(self, rows: Index) -> Low:
        return self._low(self.errors[rows], scaled(self.features[rows], self.scale).float())

    def high(self, rows: Index) -> Tensor:
        return torch.cat([in_double(self.errors[rows]), in_double(self.features[rows]) * self.scale], dim=1)

    def low_of(self, high: Tensor) -> Low:
        a, h = self._factors(high)
        return self._low(a, h.float())

    def _factors(self, high: Tensor) -> tuple[Tensor, Tensor]:
        return high[:, : self.num_classes], high[:, self.num_classes :]

    def _low(self, a: Tensor, h: Tensor) -> Low:
        # The shorter factor in float64: errors may be so small that float32 cannot square them.
        squares = in_double(a).square().sum(dim=1) * in_double(torch.linalg.vector_norm(h, dim=1)).square()
        return Low((a.float(), h), squares)

    def products(self, points: Low, centers: Low) -> Tensor:
        add_flops(2 * len(points.squares) * len(centers.squares) * self.width)
        (a, h), (a_centers, h_centers) = points.factors, centers.factors
        return (h @ h_centers.T).mul_(a @ a_centers.T)

    def exact(self, points: Tensor, centers: Tensor) -> Tensor:
        add_flops(6 * len(points) * self.width)
        found = points.new_empty(len(points))
        for block in row_blocks(len(points), self.width):
            (a, h), (a_center, h_center) = self._factors(points[block]), self._factors(centers[block])
            size = _squares(a) * _squares(h) + _squares(a_center) * _squares(h_center)
            distances = size - 2 * _dots(a, a_center) * _dots(h, h_center)
            close = distances < _CANCELS * size
            if bool(close.any()):
                distances[close] = squared_distances_of_close(a[close], h[close], a_center[close], h_center[close])
            found[block] = distances
        return found


# A squared distance below this part of |g|² + |g'|² has lost digits in the subtraction and is computed anew. What is
# kept has lost at most three of float64's sixteen.
_CANCELS = 1e-3


def squared_distances_of_close(a: Tensor, h: Tensor, a_center: Tensor, h_center: Tensor) -> Tensor:
    """|a ⊗ h - a' ⊗ h'|² of each of P pairs without cancellation, exactly 0 where both factors are equal.

    (P, C), (P, D), (P, C), (P, D) to (P,). Each factor is split along its counterpart and across it. That makes four
    blocks of the difference which are orthogonal, so their squares add up, and each is written in the differences
    a - a' and h - h'.
    """
    add_flops(10 * len(a) * (a.shape[1] + h.shape[1]))
    a_along, a_across, a_length = _split(a, a_center)
    h_along, h_across, h_length = _split(h, h_center)
    both_along = a_length * h_along + h_length * a_along + a_along * h_along
    return (
        both_along.square()
        + (a_length + a_along).square() * h_across
        + (h_length + h_along).square() * a_across
        + a_across * h_across
    )


def _split(x: Tensor, center: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """x - center (P, D) along the direction of the center, (P,); its square across it, (P,); the center's length."""
    length = center.norm(dim=1)
    direction = center / torch.where(length > 0, length, 1)[:, None]
    difference = x - center
    along = _dots(difference, direction)
    return along, _squares(difference - along[:, None] * direction), length


def _squares(x: Tensor) -> Tensor:
    return x.square().sum(dim=1)


def _dots(x: Tensor, y: Tensor) -> Tensor:
    return (x * y).sum(dim=1)
