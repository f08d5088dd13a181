"""The grid of an image's regions, without PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

from dal.runtime.ranges import whole


@dataclass(frozen=True)
class Grid:
    """The units of images of one size: rectangular regions, or the whole image.

    Regions are squares of ``region_size`` pixels, in row-major order. The last row and column can be smaller. Without
    ``region_size``, the unit is the image.

    Raises DalError for a region size below 1.

    >>> grid = Grid(height=3, width=3, region_size=2)
    >>> len(grid), grid.name(1), grid.edges(1)
    (4, 'r0,c1', (0, 2, 2, 3))
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

    def name(self, unit: int) -> str:
        """Return the row and column of a unit."""
        row, column = divmod(unit, self.num_columns)
        return f"r{row},c{column}"

    def edges(self, unit: int) -> tuple[int, int, int, int]:
        """Return the first row and column of a unit, and those after the last (y0, x0, y1, x1)."""
        if self.region_size is None:
            return 0, 0, self.height, self.width
        y0, x0 = (place * self.region_size for place in divmod(unit, self.num_columns))
        return y0, x0, min(y0 + self.region_size, self.height), min(x0 + self.region_size, self.width)


class UnitIds(Sequence[str]):
    """The ids of all units, such as ``street/17.png#r3,c5``, without a list of them.

    >>> ids = UnitIds(["a", "b"], Grid(4, 2, region_size=2))
    >>> len(ids), ids[3]
    (4, 'b#r1,c0')
    """

    def __init__(self, ids: Sequence[str], units: Grid) -> None:
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
