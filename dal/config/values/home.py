"""Expands ``~`` in the paths of a configuration.

A shell does not expand it in KEY=~/PATH.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dal.runtime.user_paths import user_path


def expand_home(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration with ``~`` expanded in all paths.

    >>> expand_home({"data": {"root": "~/photos"}})["data"]["root"].startswith("~")
    False
    """
    return {key: _expanded(value) for key, value in config.items()}


def _expanded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return expand_home(value)
    is_path = isinstance(value, str) and (value == "~" or value.startswith("~/"))
    return str(user_path(value)) if is_path else value
