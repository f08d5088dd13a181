"""Refuses another setting of an existing run before PyTorch is imported, which takes seconds."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dal.runs.files.state import read_state
from dal.runs.layout import CONFIG, STATE
from dal.runs.saved_config import check_same_config, flatten, load_config

_PLAIN = re.compile(r"([a-z_]+(?:\.[a-z_]+)*)=([\w.+-]+)", re.ASCII)
_RUN_DIR = re.compile(r"run_dir=([\w./-]+)", re.ASCII)


def refuse_other_settings(arguments: Sequence[str]) -> None:
    """Raise DalError if a plain KEY=VALUE differs from the configuration of the run in run_dir.

    Only values whose meaning is plain are compared. run_campaign() compares all settings later.
    """
    folders = [found[1] for text in arguments if (found := _RUN_DIR.fullmatch(text))]
    if len(folders) != 1 or any(text.startswith("-") or "hydra" in text for text in arguments):
        return
    path = Path(folders[0])
    if not os.path.lexists(path / STATE) or not read_state(path)["rounds"]:
        return
    saved = load_config(path / CONFIG)
    flat = dict(flatten(saved))
    given: dict[str, Any] = {}
    for text in arguments:
        found = _PLAIN.fullmatch(text)
        if found and found[1] in flat:
            given[found[1]] = _like(flat[found[1]], found[2])
    check_same_config(path / CONFIG, _changed(saved, given))


def _like(saved: Any, text: str) -> Any:
    """Return the number that the text means, or ``saved`` if another part of dal must read the text."""
    try:
        if type(saved) is int:
            return int(text)
        if type(saved) is float:
            return float(text)
    except ValueError:
        pass
    return saved


def _changed(config: Mapping[str, Any], given: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the configuration with the given values of dotted keys."""
    return {
        key: _changed(value, given, f"{prefix}{key}.")
        if isinstance(value, Mapping)
        else given.get(f"{prefix}{key}", value)
        for key, value in config.items()
    }
