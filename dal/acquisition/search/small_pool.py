"""Distances to the nearest center in a small pool, all updated after every pick.

One product per pick updates the bounds of all points. Unlike ``nearest``, which drops points early, this takes few
operations a pick, and their overhead is most of the time of a small pool. Float64 differences decide where the bounds
do not, and give the scores of all picks at once in the end. The picks are those of ``nearest``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dal.acquisition.search.geometry import Geometry, Low
from dal.acquisition.search.nearest import KeyOf
from dal.acquisition.search.numbers import row_blocks

MOST_NUMBERS = {"cpu": 2**20, "cuda": 2**26}
"""Largest number of points times their width, by device, for which a pass over all points at each pick is fastest.

A search for few points launches dozens of kernels at each pick and waits for them, which takes a GPU longer.
"""

_CHUNK = 64
_FEW = 32


def is_small(points: Geometry) -> bool:
    """Return whether a pool is small enough for SmallPool."""
    return 0 < len(points) * points.width <= MOST_NUMBERS.get(points.device.type, 0)


class SmallPool:
    """Bounds on the squared distances of all points to their nearest center: labeled points and picks.

    ``upper`` (N,) float64 holds upper bounds, -1 for picks.
    """

    def __init__(self, points: Geometry, labeled: Geometry | None = None) -> None:
        self.points, self._labeled = points, labeled
        self.picks: list[int] = []
        self._centers: list[int] = []  # the picks that are centers
        self._counts: list[int] = []  # for each pick, the centers before it
        self._low = points.low(slice(0, len(points)))
        self._low_labeled = None if labeled is None or not len(labeled) else labeled.low(slice(0, len(labeled)))
        self.upper = torch.full_like(self._low.squares, torch.inf)
        self._raised = self._low.squares * (1 + points.slack) + points.smallest
        largest = self._low.squares.max()
        if self._low_labeled is not None:
            largest = torch.maximum(largest, self._low_labeled.squares.max())
        # An upper bound exceeds the distance by at most this gap, and by nothing where it is exact.
        self._most_gap = 2 * points.slack * (self._low.squares + largest) + 2 * points.smallest
        self._gap = self._most_gap.clone()
        if self._low_labeled is not None:
            for start in range(0, self.num_centers, _CHUNK):
                self._lower(self._low_labeled.at(slice(start, start + _CHUNK)))

    @property
    def num_centers(self) -> int:
        """The number of labeled points and of picks that are centers."""
        return len(self._centers) + (0 if self._low_labeled is None else len(self._low_labeled.squares))

    def take(self, position: int, is_center: bool = True) -> None:
        """Add a pick. One that coincides with a center does not change any distance."""
        self.picks.append(position)
        self._counts.append(self.num_centers)
        if is_center:
            self._centers.append(position)
            self._lower(self._low.at(slice(position, position + 1)))
        self.upper[position] = -1

    def largest(self, low_factors: Tensor | None, high_factors: Tensor | None, key_of: KeyOf) -> tuple[float, int]:
        """Return the largest key, or a positive lower bound on it, and the lowest position that has it.

        The key of a point is its squared distance times a factor per point, as ``key_of`` computes it. The arguments
        are (N,) float64 bounds on these factors; None means 1.
        """
        low, high = self.upper - self._gap, self.upper
        if low_factors is not None and high_factors is not None:
            low, high = low * low_factors, high * high_factors
        best, place = low.max(dim=0)
        above = high >= best
        # One transfer from the device for all three.
        at_least, count, position = torch.stack([best, above.sum(), place]).tolist()
        if count == 1 and at_least > 0:
            return at_least, int(position)
        return self._settled(high.clone(), key_of)

    def scores(self) -> Tensor:
        """Return the (Q,) float64 exact squared distances of the picks to the centers before them."""
        counts = torch.tensor(self._counts, device=self.points.device)
        return self._exact(torch.tensor(self.picks, device=self.points.device), counts)

    def _lower(self, centers: Low) -> None:
        raised = centers.squares * (1 + self.points.slack)
        bounds = torch.sub(raised, self.points.products(self._low, centers), alpha=2)
        bounds = bounds[:, 0] if len(raised) == 1 else bounds.amin(dim=1)
        bounds.add_(self._raised).clamp_(min=0)
        # An exact distance stays exact if the new centers are certainly not nearer.
        torch.where(bounds - self._most_gap < self.upper, self._most_gap, self._gap, out=self._gap)
        torch.minimum(self.upper, bounds, out=self.upper)

    def _settled(self, keys: Tensor, key_of: KeyOf) -> tuple[float, int]:
        best, most, is_open = -torch.inf, _FEW, self.upper >= 0
        while True:
            rows = (is_open & (keys >= best)).nonzero()[:, 0]
            if not len(rows):
                return best, int((~is_open & (keys == best)).nonzero()[0])
            if len(rows) > most:
                rows = rows[keys[rows].topk(most).indices]
            squares = self._exact(rows, torch.full_like(rows, self.num_centers))
            self.upper[rows], self._gap[rows] = squares, 0
            keys[rows] = key_of(rows, squares)
            best, most = max(best, float(keys[rows].max())), 4 * most
            is_open[rows] = False

    def _exact(self, rows: Tensor, counts: Tensor) -> Tensor:
        """Return the (R,) exact squared distances of points to the nearest of their first ``counts`` centers."""
        picked = torch.tensor(self._centers, dtype=torch.int64, device=rows.device)
        centers, highs = self._low.at(picked), self.points.high(picked)
        if self._low_labeled is not None and self._labeled is not None:
            parts = zip(self._low_labeled.factors, centers.factors, strict=True)
            joined = tuple(torch.cat(pair) for pair in parts)
            centers = Low(joined, torch.cat([self._low_labeled.squares, centers.squares]))
            highs = torch.cat([self._labeled.high(slice(0, len(self._labeled))), highs])
        found = centers.squares.new_full((len(rows),), torch.inf)
        later = torch.arange(len(highs), device=rows.device)
        for block in row_blocks(len(rows), max(len(highs), self.points.width)):
            about, off = self.points.estimates(self._low.at(rows[block]), centers)
            about.masked_fill_(later >= counts[block, None], torch.inf)
            reach = (about + off).amin(dim=1, keepdim=True)
            pairs, which = ((about - off <= reach) & (about < torch.inf)).nonzero().unbind(dim=1)
            high = self.points.high(rows[block])
            for part in row_blocks(len(pairs), self.points.width):
                squares = self.points.exact(high[pairs[part]], highs[which[part]])
                found[block] = found[block].scatter_reduce(0, pairs[part], squares, "amin")
        return found
