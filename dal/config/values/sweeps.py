"""Lists the values of a sweep over an option."""

from __future__ import annotations

import itertools
from typing import Any

from hydra.core.override_parser.types import Override, RangeSweep
from hydra.errors import HydraException

from dal.errors import DalError, shortened

MOST_VALUES = 10_000
"""Maximum number of values per sweep, and of cells per grid."""


def sweep_values(override: Override) -> list[str]:
    """Return the values of a sweep as text.

    Raises DalError for a sweep with more than MOST_VALUES values or without a list of values.
    """
    return [str(value) for value in swept(override, as_text=True)]


def swept(override: Override, as_text: bool = False) -> list[Any]:
    """Return the values of a sweep. Raises DalError as sweep_values() does."""
    key, value = override.key_or_group, override.value()
    too_many = DalError(f"{key}: expected at most {MOST_VALUES} values, got {value_text(override)}.")
    # Check the length of a range first, because Hydra materializes shuffled ranges.
    if isinstance(value, RangeSweep) and not _length(value) <= MOST_VALUES:
        raise too_many
    try:
        found = override.sweep_string_iterator() if as_text else override.sweep_iterator()
        values = list(itertools.islice(found, MOST_VALUES + 1))
    except HydraException as error:
        raise DalError(f"{key}: expected a list of values, got {value_text(override)}.") from error
    if len(values) > MOST_VALUES:
        raise too_many
    return values


def _length(values: RangeSweep) -> float:
    start, stop, step = float(values.start or 0), float(values.stop or 0), float(values.step)
    return abs(stop - start) / abs(step) if step else float("inf")


def value_text(override: Override) -> str:
    """Return the value of an override as it was written, for an error."""
    return written(str(override.input_line))


def written(text: str) -> str:
    """Return the value of KEY=VALUE for an error, in quotes if it is empty, long or not printable.

    >>> written("seed=abc"), written("seed=")
    ('abc', "''")
    """
    value = text.partition("=")[2]
    return value if value.strip() and value.isprintable() and len(value) <= 300 else shortened(value)
