"""Units: what is bought of an image, all of it or one of its regions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import overload

import torch
from torch import Tensor

from dal.runtime.ranges import whole


@dataclass(frozen=True)
class Units:
    """The units of images of one size: rectangular regions, or the whole image.

    Regions are squares of ``region_size`` pixels, in row-major order. The last row and column can be smaller. Without
    ``region_size``, the unit is the image.

    Raises DalError for a region size below 1.

    >>> units = Units(height=3, width=3, region_size=2)
    >>> len(units), units.name(3), units.boxes.tolist()
    (4, 'r1,c1', [[0, 0, 2, 2], [0, 2, 2, 3], [2, 0, 3, 2], [2, 2, 3, 3]])
    """

    height: int
    width: int
    region_size: int | None = None

    def __post_init__(self) -> None:
        if self.region_size is not None:
            whole(1, 2**20).check("region_size", self.region_size)

    def __len__(self) -> int:
        return self.num_rows * self.num_columns

    @property
    def num_rows(self) -> int:
        return 1 if self.region_size is None else -(-self.height // self.region_size)

    @property
    def num_columns(self) -> int:
        return 1 if self.region_size is None else -(-self.width // self.region_size)

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

    def name(self, unit: int) -> str:
        """Return the row and column of a unit."""
        row, column = divmod(unit, self.num_columns)
        return f"r{row},c{column}"

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


class UnitIds(Sequence[str]):
    """The ids of all units, such as ``street/17.png#r3,c5``, without a list of them.

    >>> ids = UnitIds(["a", "b"], Units(4, 2, region_size=2))
    >>> len(ids), ids[3]
    (4, 'b#r1,c0')
    """

    def __init__(self, ids: Sequence[str], units: Units) -> None:
        self.ids, self.units = ids, units

    def __len__(self) -> int:
        return len(self.ids) * len(self.units)

    @overload
    def __getitem__(self, place: int) -> str: ...

    @overload
    def __getitem__(self, place: slice) -> list[str]: ...

    def __getitem__(self, place: int | slice) -> str | list[str]:
        if isinstance(place, slice):
            return [self[point] for point in range(*place.indices(len(self)))]
        point = range(len(self))[place]
        image, unit = divmod(point, len(self.units))
        return f"{self.ids[image]}#{self.units.name(unit)}"
