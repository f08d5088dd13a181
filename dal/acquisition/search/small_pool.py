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
        self._most_gap = 2 * points.slack * (self._low.squares + largest) + 3 * points.smallest
        self._gap, self._any_exact = self._most_gap.clone(), False
        if self._low_labeled is not None:
            raised = self._low_labeled.squares * (1 + points.slack)
            for start in range(0, self.num_centers, _CHUNK):
                some = slice(start, start + _CHUNK)
                self._lower(self._low_labeled.at(some), raised[some])

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
            here = slice(position, position + 1)
            self._lower(self._low.at(here), self._raised[here])
        self.upper[position] = -1

    def largest(self, low_factors: Tensor | None, high_factors: Tensor | None, key_of: KeyOf) -> tuple[float, int]:
        """Return the largest key, or a positive lower bound on it, and the lowest position that has it.

        The key of a point is its squared distance times a factor per point, as ``key_of`` computes it. The arguments
        are (N,) float64 bounds on these factors; None means 1.
        """
        low, high = self.upper - self._gap, self.upper
        if low_factors is not None and high_factors is not None:
            low, high = low * low_factors, high * high_factors
        first, places = high.topk(min(2, len(high)))
        # One transfer from the device for all.
        at_least, position, *others = torch.cat([low.take(places[:1]), places[:1].double(), first[1:]]).tolist()
        if at_least > max([0.0, *others]):
            return at_least, int(position)
        return self._settled(high.clone(), key_of)

    def scores(self) -> Tensor:
        """Return the (Q,) float64 exact squared distances of the picks to the centers before them."""
        counts = torch.tensor(self._counts, device=self.points.device)
        return self._exact(torch.tensor(self.picks, device=self.points.device), counts)

    def _lower(self, centers: Low, raised: Tensor) -> None:
        bounds = torch.sub(raised, self.points.products(self._low, centers), alpha=2)
        bounds = bounds[:, 0] if len(raised) == 1 else bounds.amin(dim=1)
        bounds.add_(self._raised).clamp_(min=0)
        if self._any_exact:
            # An exact distance stays exact if the new centers are certainly not nearer.
            torch.where(bounds - self._most_gap < self.upper, self._most_gap, self._gap, out=self._gap)
        torch.minimum(self.upper, bounds, out=self.upper)

    def _settled(self, keys: Tensor, key_of: KeyOf) -> tuple[float, int]:
        # Starts with the highest bounds, more than could be the largest, because the next picks compare these points.
        best, most, is_open = -torch.inf, _FEW, self.upper >= 0
        while True:
            rows = (is_open & (keys >= best)).nonzero()[:, 0]
            if not len(rows):
                return best, int((~is_open & (keys == best)).nonzero()[0])
            if len(rows) > most:
                rows = rows[keys[rows].topk(most).indices]
            squares = self._exact(rows, torch.full_like(rows, self.num_centers))
            self.upper[rows], self._gap[rows], self._any_exact = squares, 0, True
            keys[rows] = key_of(rows, squares)
            best, most = max(best, float(keys[rows].max())), 4 * most
            is_open[rows] = False

    def _exact(self, rows: Tensor, counts: Tensor) -> Tensor:
        """Return the (R,) exact squared distances of points to the nearest of their first ``counts`` centers."""
        picked = torch.tensor(self._centers, dtype=torch.int64, device=rows.device)
        centers, num_labeled = self._low.at(picked), self.num_centers - len(picked)
        if self._low_labeled is not None:
            parts = zip(self._low_labeled.factors, centers.factors, strict=True)
            joined = tuple(torch.cat(pair) for pair in parts)
            centers = Low(joined, torch.cat([self._low_labeled.squares, centers.squares]))
        found = centers.squares.new_full((len(rows),), torch.inf)
        later = torch.arange(len(centers.squares), device=rows.device)
        for block in row_blocks(len(rows), max(len(later), self.points.width)):
            about, off = self.points.estimates(self._low.at(rows[block]), centers)
            about.masked_fill_(later >= counts[block, None], torch.inf)
            reach = (about + off).amin(dim=1, keepdim=True)
            pairs, which = ((about - off <= reach) & (about < torch.inf)).nonzero().unbind(dim=1)
            for part in row_blocks(len(pairs), self.points.width):
                ours = self.points.high(rows[block][pairs[part]])
                squares = self.points.exact(ours, self._high_centers(which[part], picked, num_labeled))
                found[block] = found[block].scatter_reduce(0, pairs[part], squares, "amin")
        return found

    def _high_centers(self, which: Tensor, picked: Tensor, num_labeled: int) -> Tensor:
        """Return the (P, width) float64 values of these centers, labeled points before picks."""
        if self._labeled is None or not num_labeled:
            return self.points.high(picked[which])
        is_labeled = which < num_labeled
        found = self._labeled.high(which.clamp(max=num_labeled - 1))
        found[~is_labeled] = self.points.high(picked[which[~is_labeled] - num_labeled])
        return found
