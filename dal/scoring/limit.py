"""Limits of a query: what it may cost, and how many units of an image it may take."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dal.acquisition.base import AcquisitionFunction, Selection
from dal.acquisition.search.numbers import check_whole
from dal.costs.units import ClickModel, fit_into_budget
from dal.errors import bad_value

Expected = Callable[[Tensor, Tensor | None], Tensor]
"""Maps (P,) points, and their (P,) expected clicks if a model predicts them, to costs in that order."""


@dataclass(frozen=True)
class UnitOptions:
    """How a query deals with the units of an image.

    Args:
        per_cost: Whether scores are divided by the expected cost of the unit, in the cost of the campaign.
        max_per_image: Largest number of units of one image in a query; None sets no limit.
    """

    per_cost: bool = False
    max_per_image: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.per_cost, bool):
            raise bad_value("acquisition.per_cost", "true or false", self.per_cost)
        if self.max_per_image is not None:
            check_whole("acquisition.max_per_image", self.max_per_image)

    def check(self, acquisition: AcquisitionFunction, kind: str) -> None:
        """Raise DalError if the function has no scores to divide, or the units do not differ in cost."""
        if not self.per_cost:
            return
        if "scores" not in acquisition.keeps:
            expected = "a function that scores units, such as entropy, for acquisition.per_cost"
            raise bad_value("acquisition", expected, acquisition.name)
        if kind not in ("pixels", "clicks", "seconds"):
            raise bad_value("campaign.cost", "pixels, clicks or seconds, for acquisition.per_cost", kind)


@dataclass(frozen=True, eq=False)
class Limit:
    """What a query may take.

    ``expected`` returns what units cost if they are bought in the order of its points.
    """

    size: float
    """What the query may cost. Its first unit may cost more."""
    expected: Expected
    typical: float | None = None
    """The cost of a unit if that does not depend on the others; None takes the mean of ``expected``."""
    units_per_image: int = 1
    options: UnitOptions = UnitOptions()
    click_model: ClickModel | None = None
    """Maps what is measured of predicted masks to clicks; None if ``expected`` reads no clicks."""
    allowed: Tensor | None = None
    """(N,) bool: the points that the query may take; None allows all."""

    def candidates(self, points: Tensor, others: Tensor) -> Tensor:
        """Return those of the points that the query may take, or those of the others if there are none."""
        if self.allowed is None:
            return points
        own = points[self.allowed[points]]
        return own if len(own) else others[self.allowed[others]]

    def per_cost(self, scores: Tensor, points: Tensor, clicks: Tensor | None) -> Tensor:
        """Return (P,) scores divided by the expected costs of the points."""
        costs = self.expected(points, clicks).to(scores.device)
        return scores.double() / costs.clamp(min=1e-9)

    def select(self, choose: Callable[[int], Selection], points: Tensor, clicks: Tensor | None, most: int) -> Selection:
        """Return the longest start of a selection that fits.

        ``choose`` selects a number of points, best first. Units beyond ``max_per_image`` are skipped. If what it
        selects fits, it selects twice as many, up to ``most``.
        """
        count = min(most, self._guess(points, clicks))
        while True:
            chosen = choose(count)
            places = chosen.positions.cpu()
            kept = self._first_of_images(points[places])
            costs = self.expected(points[places[kept]], None if clicks is None else clicks[places[kept]])
            fits = fit_into_budget(costs, self.size)
            if count == most or fits < len(kept) or float(costs.sum()) >= self.size:
                kept = kept[: max(fits, 1)]
                return Selection(places[kept], chosen.scores.cpu()[kept])
            count = min(most, 2 * count)

    def _guess(self, points: Tensor, clicks: Tensor | None) -> int:
        mean = float(self.expected(points, clicks).mean()) if self.typical is None else self.typical
        needed = self.size / mean if mean > 0 else math.inf
        return max(1, math.ceil(needed)) if needed < len(points) else len(points)

    def _first_of_images(self, points: Tensor) -> Tensor:
        """Return the places of the points that are not beyond ``max_per_image``, ascending."""
        most = self.options.max_per_image
        if most is None:
            return torch.arange(len(points))
        return (ranks_in_groups(points // self.units_per_image) < most).nonzero().flatten()


def number_limit(query_size: int, units_per_image: int, options: UnitOptions) -> Limit:
    """Return the limit of a query that costs one for each unit.

    >>> number_limit(3, 4, UnitOptions(max_per_image=1)).size
    3.0
    """
    return Limit(float(query_size), lambda points, clicks: torch.ones(len(points)), 1.0, units_per_image, options)


def ranks_in_groups(groups: Tensor) -> Tensor:
    """Return the (P,) int64 number of earlier members of the same group.

    >>> ranks_in_groups(torch.tensor([7, 3, 7, 7, 3])).tolist()
    [0, 0, 1, 2, 1]
    """
    by_group = torch.sort(groups, stable=True)
    ranks = torch.empty_like(by_group.indices)
    first = torch.searchsorted(by_group.values.contiguous(), by_group.values.contiguous())
    ranks[by_group.indices] = torch.arange(len(groups)) - first
    return ranks
