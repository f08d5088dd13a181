"""Expands ``~`` in the paths of a configuration.

A shell does not expand it in KEY=~/PATH.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def expand_home(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration with ``~`` expanded in all paths.

    >>> expand_home({"data": {"root": "~/photos"}})["data"]["root"] == str(Path.home() / "photos")
    True
    """
    return {key: _expanded(value) for key, value in config.items()}


def _expanded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return expand_home(value)
    is_path = isinstance(value, str) and (value == "~" or value.startswith("~/"))
    return str(Path(value).expanduser()) if is_path else value
