"""Prices of labels, hours of people, compute hours and energy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from dal.costs.phases import Costs
from dal.errors import bad_value, unknown_choice
from dal.runtime.ranges import Range, Ranges, check_ranges

BILL = {
    "training": ("train",),
    "validating": ("validate",),
    "scoring": ("embed", "score"),
    "selecting": ("select",),
    "stop set": ("stop",),
    "checkpoints": ("checkpoint",),
    "testing": ("test",),
    "diagnosing": ("diagnose",),
}
"""The names of phases in a bill."""

MEASURING = (*BILL["testing"], *BILL["diagnosing"])
"""Phases that measure the method. They are costs of a run, but no part of the method."""


@dataclass
class PricesConfig:
    """Prices in ``currency``.

    A null price adds nothing. All others add up: with a ``label`` and a ``label_hour`` price, a label costs its price
    and the time that people spend on it. If all prices are null, reports show no money.

    >>> PricesConfig(label=0.1, gpu_hour=2.0).cost(labels=100, seconds=1800)
    11.0
    """

    ranges: ClassVar[Ranges] = dict.fromkeys(
        ("label", "label_hour", "gpu_hour", "kwh", "accuracy_point"), Range(0, 10**12, null=True)
    )

    label: float | None = None
    """Price of one training or validation label; null leaves labels out of the bill."""
    label_hour: float | None = None
    """Price of one hour of the people who label, for runs that measure it; it adds to the price of a label; null leaves
    hours out of the bill."""
    gpu_hour: float | None = None
    """Price of one device for an hour; null leaves compute out of the bill."""
    kwh: float | None = None
    """Price of a kilowatt-hour, for GPUs that report their energy; null leaves energy out of the bill."""
    accuracy_point: float | None = None
    """Value of one percentage point of accuracy, which campaign.cost_optimum needs; null sets no value."""
    currency: str = "USD"
    """Currency that bills show."""

    def __post_init__(self) -> None:
        check_ranges(self, "prices.")

    @property
    def known(self) -> bool:
        """Whether anything has a price."""
        return any(price is not None for price in (self.label, self.label_hour, self.gpu_hour, self.kwh))

    def cost(
        self,
        *,
        labels: float = 0,
        people_seconds: float = 0,
        seconds: float = 0,
        devices: int = 1,
        joules: float = 0,
    ) -> float:
        """Return the price of labels, seconds of people, seconds on all devices, and joules."""
        bought = labels * (self.label or 0) + people_seconds / 3600 * (self.label_hour or 0)
        hours = seconds * devices / 3600
        return bought + hours * (self.gpu_hour or 0) + joules / 3.6e6 * (self.kwh or 0)

    def compute(self, costs: Costs, devices: int = 1) -> float:
        """Return the price of the seconds on all devices and the joules."""
        return self.cost(seconds=costs.seconds, devices=devices, joules=costs.joules or 0)


PRICE_NAMES = tuple(field.name for field in fields(PricesConfig) if field.name != "accuracy_point")
"""Names of the prices of a command line."""


def parse_prices(settings: Sequence[str]) -> PricesConfig:
    """Parse prices from a command line.

    Raises DalError for unknown names and invalid numbers.

    >>> parse_prices(["label=0.1", "gpu_hour=2", "currency=EUR"])
    PricesConfig(label=0.1, label_hour=None, gpu_hour=2.0, kwh=None, accuracy_point=None, currency='EUR')
    """
    given: dict[str, Any] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not (equals and value):
            raise bad_value("prices", "NAME=NUMBER, such as label=0.1", setting)
        if name not in PRICE_NAMES:
            raise unknown_choice("prices", PRICE_NAMES, name)
        if name in given:
            raise bad_value("prices", f"one {name}", " and ".join(s for s in settings if s.startswith(f"{name}=")))
        try:
            given[name] = value if name == "currency" else float(value)
        except ValueError:
            raise bad_value(f"prices.{name}", "a number from 0", value) from None
    prices = PricesConfig(**given)
    if not prices.known:
        raise bad_value("prices", "a price, such as label=0.1", " ".join(settings))
    return prices


def human(number: float, digits: int = 3) -> str:
    """Format a number with an SI prefix; append the unit.

    >>> human(1_234_567_890_123) + "FLOP", human(0) + "FLOP", human(999_900, digits=2) + "B"
    ('1.23 TFLOP', '0 FLOP', '1.0 MB')
    """
    if not number:
        return "0 "
    number = float(f"{number:.{digits - 1}e}")  # round first, so that 999.9 k becomes 1.00 M
    exponent = min(max(math.floor(math.log10(number)), 0) // 3, len(_PREFIXES) - 1)
    scaled = number / 1000**exponent
    whole = max(math.floor(math.log10(scaled)) + 1, 1)
    return f"{scaled:.{max(digits - whole, 0)}f} {_PREFIXES[exponent]}"


_PREFIXES = ("", "k", "M", "G", "T", "P", "E", "Z", "Y")
