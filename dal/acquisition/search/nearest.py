"""Distances to the nearest center, updated only where they can decide.

A distance to the nearest of a growing set of centers only falls, so an old one is an upper bound. Whoever looks for the
largest (k-center), or for the largest of distances times random factors (k-means++), needs the true values of the few
points whose bounds are in the way, and nothing of the others. The bounds come from blocked float32 products and hold
with their rounding; what decides is computed from float64 differences. So the answer is that of the plain definition,
and depends neither on the blocks nor on when what was brought up to date.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dal.acquisition.search.geometry import Geometry, Low
from dal.acquisition.search.numbers import in_double, row_blocks

CHUNK = 64
"""Centers a product: enough to be bound by arithmetic, few enough to stop soon for points that fall out."""

# Numbers a block: what a CPU's cache holds, and enough to keep a GPU busy.
_BLOCK = 2**21
_GPU_BLOCK = 2**27
_PAIRS = 2**17
_MOST_ROWS = 4096
_FEW_ROWS = 4


KeyOf = Callable[[Tensor, Tensor], Tensor]
"""Positions (R,) and squared distances (R,) to keys (R,)."""


class Centers:
    """Points with float32 factors for products; float64 ones come from where the center came from."""

    def __init__(self, points: Geometry, labeled: Geometry | None, query_size: int) -> None:
        self._points, self._labeled = points, labeled
        self.num_labeled = 0 if labeled is None else len(labeled)
        capacity = self.num_labeled + query_size
        one = points.low_of(torch.zeros(1, points.width, dtype=torch.float64, device=points.device))
        self._low = Low(
            tuple(factor.new_empty(capacity, factor.shape[1]) for factor in one.factors),
            one.squares.new_empty(capacity),
        )
        # Squared lengths rounded upward, so that bounds which begin with them stay bounds.
        self._raised = torch.empty(capacity, dtype=torch.float32, device=points.device)
        self._infinity = torch.tensor(torch.inf, device=points.device)
        self._picked = one.squares.new_empty(query_size, points.width)
        self.count = 0
        if labeled is not None:
            for block in row_blocks(len(labeled), points.width):
                self._append(labeled.low(block))

    def add(self, high: Tensor) -> None:
        """One more, (width,) float64."""
        high = high.to(self._picked)
        self._picked[self.count - self.num_labeled] = high
        self._append(self._points.low_of(high[None]))

    def low(self, start: int, stop: int) -> Low:
        """Those from start to stop, in float32."""
        return self._low.at(slice(start, stop))

    def raised(self, start: int, stop: int) -> Tensor:
        """(P,) float32: their squared lengths with the slack, rounded upward."""
        return self._raised[start:stop]

    def high(self, which: Tensor) -> Tensor:
        """(P, width) float64."""
        if self._labeled is None:
            return self._picked[which]
        found = self._picked.new_empty(len(which), self._points.width)
        ours = which < self.num_labeled
        if bool(ours.any()):
            # Each once: a point next to many others is asked for with each of them.
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
    """Squared distances of points to the nearest center: ``squares`` (N,) float64 are as large or larger."""

    def __init__(self, points: Geometry, centers: Centers) -> None:
        self.points, self.centers = points, centers
        count, device = len(points), points.device
        self.squares = in_double(torch.full((count,), torch.inf, device=device))
        self._seen = torch.zeros(count, dtype=torch.int32, device=device)  # so many centers are accounted for
        self._exact = torch.zeros(count, dtype=torch.bool, device=device)  # of those, the distance itself

    def lower_all(self, stop: int) -> None:
        """Bring all bounds up to date with the first ``stop`` centers, at least one."""
        start = int(self._seen.min()) if len(self._seen) else stop
        for block in row_blocks(len(self.points), self.points.width, self._most_values()):
            low = self.points.low(block)
            for first in range(start, stop, CHUNK):
                bounds = self._bounds(low, first, min(first + CHUNK, stop))
                self.squares[block] = torch.minimum(self.squares[block], bounds)
        self._seen.fill_(stop)
        self._exact.fill_(False)

    def largest(self, keys: Tensor, key_of: KeyOf) -> tuple[float, int]:
        """The largest key, a point's true squared distance times a factor of its own, and the lowest position with it.

        Without points, or where all are taken, it is -inf at 0. ``keys`` (N,) float64 are as large as the keys or
        larger; they are overwritten where something is learned.
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
        """(R,) float64 squared distances of these points themselves."""
        self._settle(rows)
        return self.squares[rows]

    def take(self, row: int) -> None:
        """From now on this point is below every other."""
        self.squares[row] = -1

    def _most_values(self) -> int:
        return _BLOCK if self.points.device.type == "cpu" else _GPU_BLOCK

    def _is_final(self, rows: Tensor) -> Tensor:
        return self._exact[rows] & (self._seen[rows] == self.centers.count)

    def _advance(self, rows: Tensor, best: float, key_of: KeyOf) -> None:
        """One step towards the true values: of bounds that are out of date, up to date; of others, the distance."""
        if len(rows) <= _FEW_ROWS:
            self._settle(rows)
            return
        settled = self._exact[rows] | (self._seen[rows] == self.centers.count)
        if bool(settled.any()):
            self._settle(rows[settled])
        self._lower(rows[~settled], best, key_of)

    def _lower(self, rows: Tensor, best: float, key_of: KeyOf) -> None:
        """Bring bounds up to date, giving up those whose keys fall below the best."""
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
        """(B,) float64: not below the squared distances to the nearest of these centers."""
        products = self.points.products(self.centers.low(start, stop), low)
        nearest = torch.add(self.centers.raised(start, stop)[:, None], products, alpha=-2).amin(dim=0)
        bounds = in_double(nearest) + low.squares * (1 + self.points.slack) + self.points.smallest
        return bounds.clamp_(min=0)

    def _settle(self, rows: Tensor) -> None:
        """Find the distances themselves; from those of fewer centers on, where they are known."""
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
        """(R,) exact squared distances to the nearest of these centers, or ``known`` where that is nearer."""
        high = self.points.high(rows)
        low, centers = self.points.low_of(high), self.centers.low(start, stop)
        about, off = self.points.estimates(low, centers)
        reach = torch.minimum(known, (about + off).amin(dim=1))
        # Only these can be the nearest.
        pairs, which = (about - off <= reach[:, None]).nonzero(as_tuple=True)
        for block in row_blocks(len(pairs), self.points.width):
            distances = self.points.exact(high[pairs[block]], self.centers.high(which[block] + start))
            known = known.scatter_reduce(0, pairs[block], distances, "amin")
        return known


def nearest_point(points: Geometry, center: Tensor) -> tuple[float, int]:
    """The smallest squared distance from one center (width,) float64, and the lowest position that has it.

    Without points it is inf at 0.
    """
    if not len(points):
        return torch.inf, 0
    centers = Centers(points, None, 1)
    centers.add(center)
    nearest = NearestCenters(points, centers)
    nearest.lower_all(1)
    bounds = nearest.squares
    # |x|² is at most 2 d² + 2 |c|², and a bound exceeds d² by twice the slack at most.
    off = 2 * points.slack * (2 * bounds + 3 * centers.low(0, 1).squares) + 2 * points.smallest
    rows = (bounds - off <= bounds.min()).nonzero()[:, 0]
    squares = nearest.distances(rows)
    return float(squares.min()), int(rows[squares.argmin()])
