"""Ranges of numeric settings."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any

from dal.errors import bad_value


@dataclass(frozen=True)
class Range:
    """A range of finite numbers for a setting.

    An error names the bound that the value violates. For a share, it names both bounds.

    >>> Range(0, 1, "a share").check("average", 0.5)
    >>> Range(1, 100, whole=True).check("copies", 101)
    Traceback (most recent call last):
    dal.errors.DalError: copies: expected at most 100, got 101.
    """

    low: float
    high: float
    noun: str = "a number"
    """Description of the number, such as ``a share``."""
    whole: bool = False
    null: bool = False
    """Whether None is allowed."""
    above: bool = False
    """Whether the range excludes ``low``."""
    below: bool = False
    """Whether the range excludes ``high``."""

    def check(self, argument: str, value: object) -> None:
        """Raise DalError unless the value is in the range."""
        if value is None and self.null:
            return
        kind = Integral if self.whole else Real
        if isinstance(value, bool) or not isinstance(value, kind) or not self._holds(value):
            raise bad_value(argument, f"{self._expected(value)}{', or null' if self.null else ''}", value)

    def _holds(self, value: Any) -> bool:
        if not self.whole and not math.isfinite(_as_float(value)):
            return False
        return bool(
            (self.low < value if self.above else self.low <= value)
            and (value < self.high if self.below else value <= self.high)
        )

    def _expected(self, value: object) -> str:
        size = _as_float(value) if isinstance(value, Real) else math.nan
        if self.whole:
            if isinstance(value, bool) or not isinstance(value, Integral):
                return f"a whole number of at least {self.low}"
            return f"at most {self.high}" if size > self.high else f"at least {self.low}"
        noun = "a finite number" if math.isinf(size) and self.noun == "a number" else self.noun
        start = f"{noun} {'above' if self.above else 'from'} {self.low:g}"
        if self.high <= 1:
            return f"{start} to {'below ' * self.below}{self.high:g}"
        return f"{noun} of at most {self.high:g}" if self.high < size < math.inf else start


def _as_float(number: Any) -> float:
    """Return the number as a float, or infinity if too large."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


Ranges = dict[str, Range]

_BOOLEANS: dict[Any, str] = {"bool": "true or false", "bool | None": "true, false or null"}
"""The annotations of booleans, and the expected values."""


def whole(low: int, high: int, *, null: bool = False) -> Range:
    """Return a range of whole numbers."""
    return Range(low, high, whole=True, null=null)


def share(*, null: bool = False, above: bool = False, below: bool = False, noun: str = "a share") -> Range:
    """Return the range from 0 to 1."""
    return Range(0, 1, noun, null=null, above=above, below=below)


def check_ranges(config: Any, prefix: str = "") -> None:
    """Check the numbers of a dataclass against its ``ranges``, and its booleans.

    ``prefix`` precedes the names of the fields in an error. Raises DalError for the first value out of range, and for a
    boolean that is not true or false.
    """
    for field in fields(config):
        if field.type in _BOOLEANS:
            value = getattr(config, field.name)
            if not isinstance(value, bool) and (value is not None or field.type == "bool"):
                raise bad_value(f"{prefix}{field.name}", _BOOLEANS[field.type], value)
    for name, allowed in config.ranges.items():
        allowed.check(f"{prefix}{name}", getattr(config, name))
