"""Checks the form of a round's records."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from dal.runs.dynamics import dynamics_file, read_arrays
from dal.runs.files.committed import damaged
from dal.runs.files.state import State

Record = Mapping[str, NDArray[Any]]


def read_record(folder: Path, round: int, state: State) -> Record | None:
    """Return the checked records of a round, or None if the commit has none."""
    name = dynamics_file(round)
    if name not in state.get("digests", {}):
        return None
    record = read_arrays(folder, name, state)
    wrong = _wrong(record)
    if wrong is not None:
        raise damaged(folder, name, f"unexpected {wrong}")
    return record


_SHAPES: dict[str, tuple[str, str]] = {
    "test_of": ("", "u"),
    "test_index": ("T", "i"),
    "test_label": ("T", "i"),
    "test_predicted": ("T", "i"),
    "test_log_prob": ("TC", "f"),
    "test_top": ("TP", "i"),
    "test_top_log_prob": ("TP", "f"),
    "test_own_log_prob": ("T", "f"),
    "stop_index": ("S", "i"),
    "stop_predicted": ("S", "i"),
    "labeled_index": ("L", "i"),
    "labeled_label": ("L", "i"),
    "labeled_round": ("L", "i"),
    "labeled_predicted": ("L", "i"),
    "labeled_log_prob": ("L", "f"),
    "labeled_margin": ("L", "f"),
    "labeled_before": ("L", "f"),
    "pool_counts": ("Q", "i"),
    "pool_probabilities": ("Q", "f"),
    "pool_size": ("", "i"),
    "layer_names": ("K", "U"),
    "layer_norm": ("K", "f"),
    "layer_change": ("K", "f"),
    "layer_cka": ("K", "f"),
    "layer_rank": ("K", "f"),
    "layer_width": ("K", "i"),
    "check_updates": ("M", "i"),
    "check_held_out_of": ("", "u"),
    "check_held_out_loss": ("Mn", "f"),
    "check_held_out_right": ("Mn", "b"),
    "check_labeled_loss": ("Mm", "f"),
    "check_labeled_right": ("Mm", "b"),
}
"""The dimensions of each array, which agree if they have the same letter, and the kind of its numbers."""
_TOGETHER = (
    ("test_of", "test_index", "test_label", "test_predicted"),
    ("test_top", "test_top_log_prob", "test_own_log_prob"),
    tuple(name for name in _SHAPES if name.startswith("labeled_")),
    tuple(name for name in _SHAPES if name.startswith("pool_")),
    tuple(name for name in _SHAPES if name.startswith("layer_")),
    tuple(name for name in _SHAPES if name.startswith("check_")),
)
OF_CLASSES = ("test_label", "test_predicted", "test_top", "stop_predicted", "labeled_label", "labeled_predicted")
_MOST_CLASSES = 2**15


def _wrong(record: Record) -> str | None:
    """Return the name of an array that does not have its form, or None."""
    sizes: dict[str, int] = {}
    for name, (dims, kind) in _SHAPES.items():
        if name not in record:
            continue
        array = record[name]
        if array.ndim != len(dims) or array.dtype.kind != kind:
            return name
        if any(sizes.setdefault(letter, size) != size for letter, size in zip(dims, array.shape, strict=True)):
            return name
        if name in OF_CLASSES and array.size and not 0 <= array.min() <= array.max() < _MOST_CLASSES:
            return name
    if sizes.get("C", 0) > _MOST_CLASSES or (sizes.get("T", 0) and "test_index" not in record):
        return "test_log_prob"
    # The model of the round before, which counts the pool, may lack classes that people added since.
    if sizes.get("Q", 0) > sizes.get("C", _MOST_CLASSES):
        return "pool_counts"
    for together in _TOGETHER:
        there = [name for name in together if name in record]
        if there and len(there) < len(together):
            return there[0]
    return None
