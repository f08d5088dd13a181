"""Squared distances: bounded float32 products and exact float64 differences.

The products are cheap and identify the few pairs that matter. The exact differences of these pairs decide. Two searches
use this and store different results. ``nearest`` stores one decreasing bound per point, and most points never need an
exact distance. ``dal.scoring.candidates.exact_neighbors`` stores the K smallest distances of each query. ``pairs`` does
not use this. It returns the distances of all pairs, so its products are the result and must be float64.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from dal.acquisition.search.flops import add_flops
from dal.acquisition.search.numbers import in_double, row_blocks
from dal.acquisition.search.rows import Rows, scaled

_MOST_VALUES = {"cuda": 2**27}
"""Numbers per block of exact(): on a GPU, enough to keep it busy."""

Index = slice | Tensor
"""Rows of the pool: a slice, or (B,) int64 positions."""


class Low(NamedTuple):
    """B points as float32 factors and (B,) float64 squared lengths."""

    factors: tuple[Tensor, ...]
    squares: Tensor

    def at(self, rows: Index) -> Low:
        """Return the points at these rows."""
        return Low(tuple(factor[rows] for factor in self.factors), self.squares[rows])

    def append(self, at: int, other: Low) -> None:
        """Write the rows of another into these, starting at row ``at``."""
        for mine, theirs in zip((*self.factors, self.squares), (*other.factors, other.squares), strict=True):
            mine[at : at + len(theirs)] = theirs


class Geometry(ABC):
    """Points and the distances between them.

    Each point has ``width`` numbers. All lengths are multiplied by ``scale``.
    """

    width: int
    scale: float
    device: torch.device

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def low(self, rows: Index) -> Low:
        """Return the points in float32."""

    @abstractmethod
    def high(self, rows: Index) -> Tensor:
        """Return the points as (B, width) float64, the input of exact()."""

    @abstractmethod
    def low_of(self, high: Tensor) -> Low:
        """Convert the output of high() to that of low()."""

    @abstractmethod
    def products(self, points: Low, centers: Low) -> Tensor:
        """Return (B, P) float32 inner products."""

    @abstractmethod
    def exact(self, points: Tensor, centers: Tensor) -> Tensor:
        """Return (B,) float64 squared distances between B pairs of points and centers.

        Both arguments are (B, width). The result of a pair depends on the other pairs in the last digit at most. It is
        0 for equal points.
        """

    def estimates(self, points: Low, centers: Low) -> tuple[Tensor, Tensor]:
        """Return (B, P) squared distances from products and their error bounds.

        Both have the dtype of the squared lengths.
        """
        size = points.squares[:, None] + centers.squares
        about = torch.sub(size, self.products(points, centers), alpha=2)
        return about, size.mul_(self.slack).add_(self.smallest)

    @property
    def slack(self) -> float:
        """Bound on the relative error of squared distances from products.

        The error of |x|² + |c|² - 2 x·c is less than ``slack`` times |x|² + |c|². The ``width`` products and sums round
        by at most half a unit of float32 (2^-24) each, in any order of summation. The same holds for the sums of
        squares. The 32 in the formula covers the rounding of the entries and of the last additions.
        """
        return 2 * (self.width + 32) * 2.0**-24

    @property
    def smallest(self) -> float:
        """Bound on the additional error from underflow in float32."""
        return (self.width + 32) * 2.0**-120


class Euclidean(Geometry):
    """Euclidean distances between rows (N, D).

    ``origin`` (D,), already scaled, is subtracted before any product, because a common offset would make the rounding
    errors large relative to the distances. Any point near the center of the data is suitable. A float32 origin is
    subtracted from float32 rows directly. With a float64 origin, every row is converted to float64.
    """

    def __init__(self, rows: Rows, scale: float, origin: Tensor) -> None:
        self.rows, self.scale, self.device = rows, scale, rows.device
        self.width = rows.shape[1]
        self.origin = origin.to(rows.device)

    def __len__(self) -> int:
        return len(self.rows)

    def low(self, rows: Index) -> Low:
        x = scaled(self.rows[rows], self.scale)
        # low() and low_of() subtract the same values, because float64 represents a float32 origin exactly.
        in_single = torch.promote_types(x.dtype, self.origin.dtype) == torch.float32
        return _low(x - self.origin) if in_single else self.low_of(in_double(x))

    def high(self, rows: Index) -> Tensor:
        x = in_double(self.rows[rows])
        return x if self.scale == 1 else x * self.scale

    def low_of(self, high: Tensor) -> Low:
        return _low((high - self.origin).float())

    def products(self, points: Low, centers: Low) -> Tensor:
        add_flops(2 * len(points.squares) * len(centers.squares) * self.width)
        return points.factors[0] @ centers.factors[0].T

    def exact(self, points: Tensor, centers: Tensor) -> Tensor:
        add_flops(3 * len(points) * self.width)
        found = points.new_empty(len(points))
        for block in row_blocks(len(points), self.width, _MOST_VALUES.get(points.device.type, 2**20)):
            pairs = points[block, None], centers[block, None]
            distances = torch.cdist(*pairs, compute_mode="donot_use_mm_for_euclid_dist")
            found[block] = distances[:, 0, 0].square()
        return found


def near_mean(rows: Rows, scale: float) -> Tensor:
    """Return the (D,) scaled mean of a few hundred rows, in float32, as an origin."""
    some = torch.arange(0, len(rows), max(1, len(rows) // 256), device=rows.device)
    return ((in_double(rows[some]) * scale).sum(dim=0) / max(1, len(some))).float()


def _low(x: Tensor) -> Low:
    # float32 is precise enough for the squares, because the slack covers their rounding.
    return Low((x,), in_double(torch.linalg.vector_norm(x, dim=1)).square())


class Gradients(Geometry):
    """Distances between gradients g = a ⊗ h, stored as factors.

    The factors are errors a of C numbers and features h of D numbers. ``scale`` must reduce the features to at most 1.
    Larger features would amplify the loss from float32 products of errors that underflow.
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
        # The shorter factor is squared in float64, because errors can be too small to square in float32.
        squares = in_double(a).square().sum(dim=1) * in_double(torch.linalg.vector_norm(h, dim=1)).square()
        return Low((a.float(), h), squares)

    def products(self, points: Low, centers: Low) -> Tensor:
        add_flops(2 * len(points.squares) * len(centers.squares) * self.width)
        (a, h), (a_centers, h_centers) = points.factors, centers.factors
        return (h @ h_centers.T).mul_(a @ a_centers.T)

    def exact(self, points: Tensor, centers: Tensor) -> Tensor:
        add_flops(6 * len(points) * self.width)
        found = points.new_empty(len(points))
        for block in row_blocks(len(points), self.width, _MOST_VALUES.get(points.device.type, 2**20)):
            (a, h), (a_center, h_center) = self._factors(points[block]), self._factors(centers[block])
            size = _squares(a) * _squares(h) + _squares(a_center) * _squares(h_center)
            distances = size - 2 * _dots(a, a_center) * _dots(h, h_center)
            close = distances < _CANCELS * size
            if bool(close.any()):
                distances[close] = squared_distances_of_close(a[close], h[close], a_center[close], h_center[close])
            found[block] = distances
        return found


# A squared distance below this fraction of |g|² + |g'|² has lost digits to cancellation and is computed again. The
# others have lost at most three of float64's sixteen digits.
_CANCELS = 1e-3


def squared_distances_of_close(a: Tensor, h: Tensor, a_center: Tensor, h_center: Tensor) -> Tensor:
    """Compute squared distances of P pairs of gradients without cancellation.

    They are |a ⊗ h - a' ⊗ h'|². The arguments are (P, C), (P, D), (P, C) and (P, D), and the result is (P,). It is
    exactly 0 if both factors are equal. Each factor is split into a part along its counterpart and a part across it.
    This divides the difference into four orthogonal blocks, whose squares add up. Each block is computed from the
    differences a - a' and h - h'.
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
    """Split (P, D) differences x - center along and across the center.

    Returns the (P,) component along the center's direction, the (P,) square of the rest, and the (P,) center lengths.
    """
    length = center.norm(dim=1)
    direction = center / torch.where(length > 0, length, 1)[:, None]
    difference = x - center
    along = _dots(difference, direction)
    return along, _squares(difference - along[:, None] * direction), length


def _squares(x: Tensor) -> Tensor:
    return x.square().sum(dim=1)


def _dots(x: Tensor, y: Tensor) -> Tensor:
    return (x * y).sum(dim=1)
