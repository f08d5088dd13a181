"""Prices: what turns labels, hours and energy into money."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dal.errors import bad_value

Row = Mapping[str, Any]


@dataclass
class PricesConfig:
    """Prices in ``currency``. One that is null costs nothing in the sums; with all of them null there is no money.

    >>> PricesConfig(label=0.1, gpu_hour=2.0).cost(labels=100, seconds=1800)
    11.0
    """

    label: float | None = None  # of one label, training or validation
    gpu_hour: float | None = None  # of one device for an hour
    kwh: float | None = None  # of electricity, where the GPU tells its energy
    accuracy_point: float | None = None  # what one point (1 %) of accuracy is worth; for campaign.cost_optimum
    currency: str = "USD"

    def __post_init__(self) -> None:
        for name in ("label", "gpu_hour", "kwh", "accuracy_point"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise bad_value(f"prices.{name}", "a number from 0, or null", value)

    @property
    def known(self) -> bool:
        """Whether anything has a price."""
        return any(price is not None for price in (self.label, self.gpu_hour, self.kwh))

    def cost(self, *, labels: float = 0, seconds: float = 0, devices: int = 1, joules: float = 0) -> float:
        """Money for so many labels, seconds on so many devices, and joules."""
        hours = seconds * devices / 3600
        return labels * (self.label or 0) + hours * (self.gpu_hour or 0) + joules / 3.6e6 * (self.kwh or 0)


def total_flops(row: Row) -> int:
    """All floating-point operations of a row of the journal: training, validation, testing, scoring, selection."""
    return sum(v for k, v in row.items() if k.startswith(_FLOPS))


def total_seconds(row: Row) -> float:
    """The seconds of all phases of a row of the journal."""
    return float(sum(v for k, v in row.items() if k.startswith("seconds_")))


def total_joules(row: Row) -> float:
    """The energy of all phases of a row of the journal, 0 where nothing measured it."""
    return float(sum(v for k, v in row.items() if k.startswith("joules_")))


# flops_draws_score is left out: it is a part of flops_forward_score.
_FLOPS = ("flops_forward_", "flops_backward_", "flops_select")
