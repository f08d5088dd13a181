"""What the units of a pool cost, before and after they have labels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dal.costs.kinds import KINDS, cost_key
from dal.costs.units import ClickModel, clicks, measure_units
from dal.data.masks import MaskSource
from dal.data.units import Units

_BLOCK = 64  # masks in memory at a time


class PoolCosts:
    """The costs of the points of a pool, which are the units of its images.

    Point ``image * U + unit`` is a unit of an image. The true clicks of a unit come from its mask. The masks of an
    image are read when its clicks are needed first.

    - ``units``: 1 for each unit
    - ``images``: 1 for the first unit of an image
    - ``pixels``: the pixels of the unit, with ignored ones
    - ``clicks``: what the click model says of the mask
    - ``seconds``: the clicks times ``click_seconds``
    """

    def __init__(self, masks: MaskSource, units: Units, model: ClickModel = clicks, click_seconds: float = 1.0) -> None:
        self._masks, self._units = masks, units
        self.model, self.click_seconds = model, click_seconds
        self.units_per_image = len(units)
        self._version = 0
        self._clicks = torch.full((len(masks) * self.units_per_image,), torch.nan, dtype=torch.float64)

    def true(self, kind: str, points: Tensor, bought: Tensor) -> Tensor:
        """Return the (P,) costs of points in this order, after the points of ``bought``."""
        return self.expected(kind, points, self.clicks(points) if kind in ("clicks", "seconds") else None, bought)

    def expected(self, kind: str, points: Tensor, clicks: Tensor | None, bought: Tensor) -> Tensor:
        """Return the (P,) float64 costs of points in this order, if they need these clicks.

        Without clicks, each point is expected to need the mean of the points of ``bought``, or of one click if there
        are none.
        """
        if kind == "units":
            return torch.ones(len(points), dtype=torch.float64)
        if kind == "images":
            return _opened(points // self.units_per_image, bought // self.units_per_image)
        if kind == "pixels":
            return self._units.pixels[points % self.units_per_image].double()
        if clicks is None:
            mean = float(self.clicks(bought).mean()) if len(bought) else 1.0
            clicks = torch.full((len(points),), mean, dtype=torch.float64)
        return clicks.cpu().double() * (self.click_seconds if kind == "seconds" else 1.0)

    def clicks(self, points: Tensor) -> Tensor:
        """Return the (P,) float64 true clicks of points."""
        if (version := getattr(self._masks, "version", 0)) != self._version:  # people have drawn others since then
            self._clicks.fill_(torch.nan)
            self._version = version
        unread = points[torch.isnan(self._clicks[points])]
        for images in torch.unique(unread // self.units_per_image).split(_BLOCK):
            masks = self._masks.batch(images.tolist())
            of_pixels = self._units.of_pixels(*masks.shape[1:])
            found = measure_units(masks, of_pixels, self.units_per_image).clicks(self.model).cpu()
            self._clicks[images[:, None] * self.units_per_image + torch.arange(self.units_per_image)] = found
        return self._clicks[points]

    def spent(self, kind: str, bought: Tensor) -> float:
        """Return the cost of points that were bought in this order.

        It is summed from left to right, as affordable() does, so both have the same rounding.
        """
        return float(np.cumsum([0.0, *self.true(kind, bought, bought[:0]).tolist()])[-1])

    def affordable(self, kind: str, points: Tensor, bought: Tensor, budget: float) -> list[int]:
        """Return the places of the points that are bought until ``budget`` is spent, in order.

        A point whose true cost exceeds what is left is skipped.
        """
        costs = self.true(kind, points, bought).tolist()
        images, opened = (points // self.units_per_image).tolist(), set((bought // self.units_per_image).tolist())
        spent, places = self.spent(kind, bought), []
        for place, (cost, image) in enumerate(zip(costs, images, strict=True)):
            # If the first unit of an image is skipped, the next one opens it.
            cost = float(image not in opened) if kind == "images" else cost
            if spent + cost <= budget:
                spent += cost
                places.append(place)
                opened.add(image)
        return places

    def row(self, bought: Tensor) -> dict[str, float]:
        """Return the costs of these points for a row of the journal, such as ``cost_clicks``.

        >>> from dal.data.masks import TensorMasks
        >>> masks = TensorMasks(torch.tensor([[[0, 0], [0, 1]], [[2, 2], [2, 2]]], dtype=torch.uint8))
        >>> PoolCosts(masks, Units(2, 2), click_seconds=2.0).row(torch.tensor([1, 0]))
        {'cost_units': 2, 'cost_images': 2, 'cost_pixels': 8, 'cost_clicks': 3.25, 'cost_seconds': 6.5}
        """
        found = {cost_key(kind): self.spent(kind, bought) for kind in KINDS}
        return {key: int(cost) if key in _WHOLE else cost for key, cost in found.items()}


_WHOLE = tuple(map(cost_key, ("units", "images", "pixels")))


def _opened(images: Tensor, before: Tensor) -> Tensor:
    """Return 1 for the first point of each image that is not among those before, else 0."""
    by_image = torch.sort(images, stable=True)
    is_first = torch.ones(len(images), dtype=torch.bool)
    is_first[by_image.indices[1:]] = by_image.values[1:] != by_image.values[:-1]
    return (is_first & ~torch.isin(images, before)).double()
