"""Units: what is bought of an image, all of it or one of its regions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from dal.data.grid import Grid, UnitIds

__all__ = ["UnitIds", "Units"]


@dataclass(frozen=True)
class Units(Grid):
    """A Grid of units with the tensors that scoring and training need.

    >>> units = Units(height=3, width=3, region_size=2)
    >>> len(units), units.name(3), units.boxes.tolist()
    (4, 'r1,c1', [[0, 0, 2, 2], [0, 2, 2, 3], [2, 0, 3, 2], [2, 2, 3, 3]])
    """

    @cached_property
    def boxes(self) -> Tensor:
        """(U, 4) int64: the first row and column, and those after the last (y0, x0, y1, x1)."""
        y, x = self._edges(self.height, self.num_rows), self._edges(self.width, self.num_columns)
        rows = torch.stack([y[:-1], y[1:]], dim=1).repeat_interleave(self.num_columns, dim=0)
        columns = torch.stack([x[:-1], x[1:]], dim=1).repeat(self.num_rows, 1)
        return torch.stack([rows[:, 0], columns[:, 0], rows[:, 1], columns[:, 1]], dim=1)

    @property
    def pixels(self) -> Tensor:
        """(U,) int64: the number of pixels of each unit."""
        y0, x0, y1, x1 = self.boxes.unbind(dim=1)
        return (y1 - y0) * (x1 - x0)

    def of_pixels(self, height: int, width: int) -> Tensor:
        """Return (height, width) int64: the unit of each site of a grid over the image.

        A site belongs to the unit that holds its center.

        >>> Units(4, 4, region_size=2).of_pixels(2, 2).tolist()
        [[0, 1], [2, 3]]
        """
        rows = self._of_centers(self.height, height, self.num_rows)
        columns = self._of_centers(self.width, width, self.num_columns)
        return rows[:, None] * self.num_columns + columns

    def sites(self, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Return the sites of each unit in a grid over the image, and their numbers.

        A unit that holds no center of a site has the site that covers the center of the unit.

        Returns:
            (U, M) int64 sites, row-major and ascending, where the last site of a unit fills its row; and (U,) int64.

        >>> sites, counts = Units(3, 3, region_size=2).sites(3, 3)
        >>> sites.tolist(), counts.tolist()
        ([[0, 1, 3, 4], [2, 5, 5, 5], [6, 7, 7, 7], [8, 8, 8, 8]], [4, 2, 2, 1])
        """
        of = self.of_pixels(height, width).flatten()
        order = torch.sort(of, stable=True).indices
        counts = torch.bincount(of, minlength=len(self))
        first = counts.cumsum(0) - counts
        places = torch.arange(int(counts.max())).minimum((counts - 1).clamp(min=0)[:, None])
        table = order[(first[:, None] + places).clamp(max=len(order) - 1)]
        empty = counts == 0
        if bool(empty.any()):
            y0, x0, y1, x1 = self.boxes[empty].unbind(dim=1)
            row, column = (y0 + y1) * height // (2 * self.height), (x0 + x1) * width // (2 * self.width)
            table[empty] = (row * width + column)[:, None]
        return table, counts.clamp(min=1)

    def _edges(self, length: int, count: int) -> Tensor:
        return (torch.arange(count + 1) * (self.region_size or length)).clamp(max=length)

    def _of_centers(self, length: int, size: int, count: int) -> Tensor:
        # Twice the center of a site, in pixels times the number of sites, is a whole number.
        pixel = (2 * torch.arange(size) + 1) * length // (2 * size)
        return (pixel // (self.region_size or length)).clamp(max=count - 1)
