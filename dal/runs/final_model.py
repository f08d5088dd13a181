"""Reads and writes the final model, which a run commits last."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dal.runs.files.atomic import save_tensors, write_text
from dal.runs.files.committed import checked_text, damaged, parsed
from dal.runs.files.state import read_state, write_state
from dal.runs.journal import finite, parse_row
from dal.runs.layout import FINAL_MODEL, FINAL_MODEL_WEIGHTS, OLD_FINAL_MODEL, STATE
from dal.runs.round import Round

_FILES = {FINAL_MODEL, FINAL_MODEL_WEIGHTS}
_KEYS = {"backbone", "num_labeled", "labels_bought", "updates"}


def read_final_model(folder: Path) -> Round | None:
    """Return the row of the final model, or None before training.

    Raises DalError for a damaged file.
    """
    state = _state(folder)
    for name in (FINAL_MODEL, OLD_FINAL_MODEL):
        # A file without a digest in state.json is a leftover of a crash before the commit.
        if os.path.lexists(folder / name) and name in state.get("digests", {name}):
            return _read(folder, name, state)
    if FINAL_MODEL in state.get("digests", {}):
        raise damaged(folder, FINAL_MODEL, "there is no such file")
    return None


def commit_final_model(folder: Path, row: Mapping[str, Any], weights: dict[str, Any]) -> None:
    """Write the final model.

    In a run folder, the digests in state.json are the commit.
    """
    state = _state(folder)
    others = {name: digest for name, digest in state.get("digests", {}).items() if name not in _FILES}
    if "digests" in state and others != state["digests"]:
        write_state(folder, {**state, "digests": others})
    digests = {FINAL_MODEL_WEIGHTS: save_tensors(folder / FINAL_MODEL_WEIGHTS, weights)}
    digests[FINAL_MODEL] = write_text(folder / FINAL_MODEL, json.dumps(finite(row), allow_nan=False) + "\n")
    if "digests" in state:
        write_state(folder, {**state, "digests": others | digests})


def _read(folder: Path, name: str, state: Mapping[str, Any]) -> Round:
    text = checked_text(folder, name, state)
    row = parsed(folder, name, lambda: parse_row(text))
    if not row.keys() >= _KEYS:
        raise damaged(folder, name)
    return row


def _state(folder: Path) -> dict[str, Any]:
    return read_state(folder) if os.path.lexists(folder / STATE) else {}
