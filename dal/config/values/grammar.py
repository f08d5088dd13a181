"""Parses overrides with Hydra's grammar."""

from __future__ import annotations

from functools import lru_cache

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

# Hydra also raises ValueError for a number with too many digits, and RecursionError for too many brackets.
_ERRORS = (HydraException, ValueError, TypeError, RecursionError)


@lru_cache(maxsize=1024)  # an override is parsed several times, and nothing changes it
def parsed(text: str) -> Override | None:
    """Return an override, or None if the grammar does not accept the text.

    >>> str(parsed("seed=3").key_or_group), parsed("seed=(")
    ('seed', None)
    """
    try:
        found: list[Override] = OverridesParser.create().parse_overrides([text])
    except _ERRORS:
        return None
    return found[0] if found[0].key_or_group else None
