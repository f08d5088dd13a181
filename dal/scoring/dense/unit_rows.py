"""A pass over images whose rows are those of units."""

from __future__ import annotations

import torch
from torch import Tensor

from dal.acquisition.base import AcquisitionFunction, Summary
from dal.acquisition.search.rows import all_rows
from dal.costs.units import ClickModel
from dal.data.images import ImageData
from dal.models.adapted.scoring_model import ScoringModel
from dal.scoring.dense.pooling import Pooling, UnitPool
from dal.scoring.dense.predicted_clicks import CLICKS, predicted_clicks
from dal.scoring.dense.sites import SiteRows, SiteView, rows_of
from dal.scoring.observer import Following
from dal.scoring.row_store import Kept


class UnitPass(Following):
    """The images of units, and which rows of each tile are those of the units.

    ``points`` are (M,) units in any order. The pass reads each of their images once, in the order ``images``.
    """

    def __init__(self, data: ImageData, points: Tensor) -> None:
        super().__init__()
        self.data = data
        sorted_points, order = torch.sort(points, stable=True)
        self.images, self._places = torch.unique_consecutive(data.images_of(sorted_points), return_inverse=True)
        self._units = sorted_points % data.units_per_image
        # None for points that are sorted already, as those of a pool are.
        self._order = None if bool((order[1:] > order[:-1]).all()) else torch.argsort(order)
        self.num_rows = len(points)

    def start(self) -> None:
        """Forget nothing, because rows go to the store."""

    def image_of_row(self, row: int) -> int:
        return int(self._places[row])

    def in_order(self, rows: Kept) -> Kept:
        """Return the rows of a pass in the order of the points."""
        return rows if self._order is None else {name: all_rows(part)[self._order] for name, part in rows.items()}

    def rows_in_tile(self) -> tuple[slice, Tensor, Tensor]:
        """Return the rows of the tile, the images in the tile that they are from, and their units.

        For a probe, they are the first rows.
        """
        first = self.first or 0
        start, end = (int(torch.searchsorted(self._places, first + offset)) for offset in (0, self.valid or 1))
        return slice(start, end), self._places[start:end] - first, self._units[start:end]


class UnitRows(UnitPass):
    """Summarizes units with an acquisition function that sees the sites of their images.

    ``budget`` limits the bytes of the draws of a tile. With a click model, the rows CLICKS hold the clicks of the
    predicted masks, which are those without dropout.
    """

    def __init__(
        self,
        function: AcquisitionFunction,
        data: ImageData,
        points: Tensor,
        pooling: Pooling,
        budget: int | None = None,
        clicks: ClickModel | None = None,
    ) -> None:
        super().__init__(data, points)
        self._function, self._sites, self._pooling = function, SiteRows(function, budget), pooling
        self._clicks = clicks
        self._pool: UnitPool | None = None

    def __call__(self, view: ScoringModel, x: Tensor) -> Summary:
        sites = SiteView(view, x)
        rows, grid = self._sites(sites)
        if self._pool is None:
            self._pool = UnitPool(self.data.units, grid[0], grid[1], self._pooling)
            if not self._pool.has_one_site:  # as for units of one pixel, if the grid is not finer than the image
                self.data.task.check_acquisition(self._function)
        pooled = self._pool(rows)
        if self._clicks is not None:
            pooled[CLICKS] = predicted_clicks(sites.maps()[1], self.data.units, self._clicks)
        _, images, units = self.rows_in_tile()
        return {name: part[images.to(part.device), units.to(part.device)] for name, part in pooled.items()}


class PixelLogits(UnitPass):
    """Keeps the logits of some sites of each unit, the same in each pass.

    ``draws`` (M, P) from 0 to 1 choose P sites of each point. The rows are (M, P, C).
    """

    def __init__(self, data: ImageData, points: Tensor, draws: Tensor) -> None:
        super().__init__(data, points)
        self._draws = draws[torch.sort(points, stable=True).indices]

    def __call__(self, view: ScoringModel, x: Tensor) -> Summary:
        logits = view.logits(x)
        height, width = logits.shape[2:]
        sites, counts = self.data.units.sites(height, width)
        rows, images, units = self.rows_in_tile()
        places = (self._draws[rows] * counts[units][:, None]).long().clamp(max=sites.shape[1] - 1)
        chosen = sites[units[:, None], places] + images[:, None] * (height * width)
        everywhere = rows_of(logits, (slice(None), slice(None)))
        return {"logits": everywhere[chosen.to(logits.device)]}
