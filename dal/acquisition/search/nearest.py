"""Distances to the nearest center, updated only where they can decide.

The distance to the nearest of a growing set of centers only decreases, so an earlier distance is an upper bound.
k-center needs the largest distance, and k-means++ needs the largest product of a distance and a random factor. Both
need the exact distances of only the few points whose bounds are high enough. The bounds come from blocked float32
products and allow for their rounding. Float64 differences decide. The result therefore equals that of the plain
definition, and depends neither on the blocks nor on the order of the updates.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dal.acquisition.search.geometry import Geometry, Low
from dal.acquisition.search.numbers import in_double, row_blocks

CHUNK = 64
"""Centers per product: enough to be compute-bound, few enough to drop points early."""

# Numbers per block: _BLOCK fits in a CPU's cache, and _GPU_BLOCK keeps a GPU busy.
_BLOCK = 2**21
_GPU_BLOCK = 2**27
_PAIRS = 2**17
_MOST_ROWS = 4096
_FEW_ROWS = 4


KeyOf = Callable[[Tensor, Tensor], Tensor]
"""Maps (R,) positions and (R,) squared distances to (R,) keys."""


class Centers:
    """Labeled points and picked points, the centers of a search.

    Their float32 factors are stored for products. The float64 values of labeled points are read again when needed.
    """

    def __init__(self, points: Geometry, labeled: Geometry | None, query_size: int) -> None:
        self._points, self._labeled = points, labeled
        self.num_labeled = 0 if labeled is None else len(labeled)
        capacity = self.num_labeled + query_size
        one = points.low_of(torch.zeros(1, points.width, dtype=torch.float64, device=points.device))
        self._low = Low(
            tuple(factor.new_empty(capacity, factor.shape[1]) for factor in one.factors),
            one.squares.new_empty(capacity),
        )
        # Squared lengths are rounded up, so that the bounds computed from them remain upper bounds.
        self._raised = torch.empty(capacity, dtype=torch.float32, device=points.device)
        self._infinity = torch.tensor(torch.inf, device=points.device)
        self._picked = one.squares.new_empty(query_size, points.width)
        self.count = 0
        if labeled is not None:
            for block in row_blocks(len(labeled), points.width):
                self._append(labeled.low(block))

    def add(self, high: Tensor) -> None:
        """Add one picked point, (width,) float64."""
        high = high.to(self._picked)
        self._picked[self.count - self.num_labeled] = high
        self._append(self._points.low_of(high[None]))

    def low(self, start: int, stop: int) -> Low:
        """Return the centers from ``start`` to ``stop`` in float32."""
        return self._low.at(slice(start, stop))

    def raised(self, start: int, stop: int) -> Tensor:
        """Return (P,) float32 squared lengths plus slack, rounded up."""
        return self._raised[start:stop]

    def high(self, which: Tensor) -> Tensor:
        """Return the (P, width) float64 values of these centers."""
        if self._labeled is None:
            return self._picked[which]
        found = self._picked.new_empty(len(which), self._points.width)
        ours = which < self.num_labeled
        if bool(ours.any()):
            # Reads each center only once, although it can occur in many pairs.
            distinct, places = torch.unique(which[ours], return_inverse=True)
            found[ours] = self._labeled.high(distinct)[places]
        found[~ours] = self._picked[which[~ours] - self.num_labeled]
        return found

    def _append(self, low: Low) -> None:
        end = self.count + len(low.squares)
        self._low.append(self.count, low)
        raised = (low.squares * (1 + self._points.slack)).float()
        self._raised[self.count : end] = torch.nextafter(raised, self._infinity)
        self.count = end


class NearestCenters:
    """Bounds on the squared distances of points to their nearest center.

    ``squares`` (N,) float64 holds the upper bounds.
    """

    def __init__(self, points: Geometry, centers: Centers) -> None:
        self.points, self.centers = points, centers
        count, device = len(points), points.device
        self.squares = in_double(torch.full((count,), torch.inf, device=device))
        self._seen = torch.zeros(count, dtype=torch.int32, device=device)  # number of centers that a bound covers
        self._exact = torch.zeros(count, dtype=torch.bool, device=device)  # whether the bound is their exact distance

    def lower_all(self, stop: int) -> None:
        """Update all bounds with the first ``stop`` centers, at least one."""
        start = int(self._seen.min()) if len(self._seen) else stop
        for block in row_blocks(len(self.points), self.points.width, self._most_values()):
            low = self.points.low(block)
            for first in range(start, stop, CHUNK):
                bounds = self._bounds(low, first, min(first + CHUNK, stop))
                self.squares[block] = torch.minimum(self.squares[block], bounds)
        self._seen.fill_(stop)
        self._exact.fill_(False)

    def largest(self, keys: Tensor, key_of: KeyOf) -> tuple[float, int]:
        """Return the largest key and the lowest position that has it.

        The key of a point is its exact squared distance times a factor per point, as ``key_of`` computes it. Without
        points, or if all are taken, the result is -inf at 0. ``keys`` (N,) float64 are upper bounds on the keys. The
        search replaces those that it improves.
        """
        if not len(keys):
            return -torch.inf, 0
        rows = keys.argmax()[None]
        if keys[rows].item() < 0:
            return -torch.inf, 0
        best, most = -torch.inf, 1
        while True:
            self._advance(rows, best, key_of)
            new = keys[rows] = key_of(rows, self.squares[rows])
            if len(rows) > _FEW_ROWS:
                new = new[self._is_final(rows)]
            if len(new):
                best = max(best, new.max().item())
            above = (keys >= best).nonzero()[:, 0]
            if len(above) == 1 and best > -torch.inf:
                return best, int(above)
            rows = above[~self._is_final(above)]
            if not len(rows):
                return best, int(above[keys[above].argmax()])
            most = min(4 * most, _MOST_ROWS)
            if len(rows) > most:
                rows = rows[keys[rows].topk(most).indices]

    def distances(self, rows: Tensor) -> Tensor:
        """Return the (R,) float64 exact squared distances of these points."""
        self._settle(rows)
        return self.squares[rows]

    def take(self, row: int) -> None:
        """Mark a point as taken, which ranks it below all others."""
        self.squares[row] = -1

    def _most_values(self) -> int:
        return _BLOCK if self.points.device.type == "cpu" else _GPU_BLOCK

    def _is_final(self, rows: Tensor) -> Tensor:
        return self._exact[rows] & (self._seen[rows] == self.centers.count)

    def _advance(self, rows: Tensor, best: float, key_of: KeyOf) -> None:
        """Bring the values of these points one step closer to exact distances.

        Updates outdated bounds, and replaces current bounds and outdated distances by exact distances. A few points are
        all replaced by exact distances directly.
        """
        if len(rows) <= _FEW_ROWS:
            self._settle(rows)
            return
        settled = self._exact[rows] | (self._seen[rows] == self.centers.count)
        if bool(settled.any()):
            self._settle(rows[settled])
        self._lower(rows[~settled], best, key_of)

    def _lower(self, rows: Tensor, best: float, key_of: KeyOf) -> None:
        """Update bounds and drop points whose keys fall below ``best``."""
        low = self.points.low(rows)
        while len(rows):
            seen = self._seen[rows]
            start = int(seen.min())
            stop = min(start + max(CHUNK, _PAIRS // len(rows)), self.centers.count)
            if start == stop:
                return
            behind = seen < stop
            some, part = (rows, low) if bool(behind.all()) else (rows[behind], low.at(behind))
            self.squares[some] = torch.minimum(self.squares[some], self._bounds(part, start, stop))
            self._seen[some] = stop
            keep = key_of(rows, self.squares[rows]) >= best
            if not bool(keep.all()):
                rows, low = rows[keep], low.at(keep)

    def _bounds(self, low: Low, start: int, stop: int) -> Tensor:
        """Return (B,) float64 upper bounds from centers ``start`` to ``stop``."""
        products = self.points.products(self.centers.low(start, stop), low)
        nearest = torch.add(self.centers.raised(start, stop)[:, None], products, alpha=-2).amin(dim=0)
        bounds = in_double(nearest) + low.squares * (1 + self.points.slack) + self.points.smallest
        return bounds.clamp_(min=0)

    def _settle(self, rows: Tensor) -> None:
        """Compute the exact distances of these points.

        If all of them have exact distances to fewer centers, only the remaining centers are compared.
        """
        exact = self._exact[rows]
        start, stop = 0, self.centers.count
        if bool(exact.all()):
            known, start = self.squares[rows], int(self._seen[rows].min())
            if start == stop:
                return
        else:
            known = self.squares[rows].masked_fill_(~exact, torch.inf)
        for block in row_blocks(len(rows), max(stop - start, self.points.width), self._most_values()):
            known[block] = self._nearest_of(rows[block], known[block], start, stop)
        self.squares[rows] = known
        self._seen[rows] = stop
        self._exact[rows] = True

    def _nearest_of(self, rows: Tensor, known: Tensor, start: int, stop: int) -> Tensor:
        """Return (R,) exact squared distances to the nearest center.

        Compares the centers from ``start`` to ``stop`` with the distances in ``known`` and returns the smaller ones.
        """
        high = self.points.high(rows)
        low, centers = self.points.low_of(high), self.centers.low(start, stop)
        about, off = self.points.estimates(low, centers)
        reach = torch.minimum(known, (about + off).amin(dim=1))
        # Only these pairs can include a nearest center.
        pairs, which = (about - off <= reach[:, None]).nonzero(as_tuple=True)
        for block in row_blocks(len(pairs), self.points.width):
            distances = self.points.exact(high[pairs[block]], self.centers.high(which[block] + start))
            known = known.scatter_reduce(0, pairs[block], distances, "amin")
        return known


def nearest_point(points: Geometry, center: Tensor) -> tuple[float, int]:
    """Return the smallest squared distance to a center and its lowest position.

    The center is (width,) float64. Without points, the result is inf at 0.
    """
    if not len(points):
        return torch.inf, 0
    centers = Centers(points, None, 1)
    centers.add(center)
    nearest = NearestCenters(points, centers)
    nearest.lower_all(1)
    bounds = nearest.squares
    # |x|² is at most 2 d² + 2 |c|², and a bound exceeds d² by at most twice the slack.
    off = 2 * points.slack * (2 * bounds + 3 * centers.low(0, 1).squares) + 2 * points.smallest
    rows = (bounds - off <= bounds.min()).nonzero()[:, 0]
    squares = nearest.distances(rows)
    return float(squares.min()), int(rows[squares.argmin()])
