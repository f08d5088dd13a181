"""Restores the records of a run from its folder."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dal.errors import DalError
from dal.runs.asked import parse_asked
from dal.runs.files.committed import check_file, check_if_committed, damaged, parsed
from dal.runs.files.points import named_changes
from dal.runs.files.same_data import check_same_data
from dal.runs.files.state import State, read_state
from dal.runs.journal import committed_rounds, committed_text, read_query, read_selections, read_test, read_validation
from dal.runs.layout import ASKED, CONFIG, DATA, POINTS, ROUNDS, SELECTIONS, TRAIN, weights_file
from dal.runs.records import Ask, Records


def restore(records: Records, folder: Path, state: State, fingerprint: str, labels: bool = True) -> None:
    """Load the committed state of a run into records.

    Without ``labels``, the labels of the data may have changed. Raises DalError for other data and for a damaged file.
    """
    named = partial(named_changes, folder, state, fingerprint)
    check_same_data(folder, str(state["data"]), fingerprint, labels, named)
    check_if_committed(folder, POINTS, state)
    check_file(folder, CONFIG, state)
    records.stage, records.costs = state["stage"], dict(state.get("costs", {}))
    records.settings = dict(state.get("settings", {}))
    records.pool_seen = state.get("pool_seen")
    if state.get("scores"):
        records.scores = _scores(folder, state)
    records.rows = committed_rounds(folder, state)
    records.selections = read_selections(folder, state)
    records.pending = read_query(folder, state)
    records.test = read_test(folder, state)
    records.validation = read_validation(folder, state)
    if "asks" in state:
        text = committed_text(folder, ASKED, state)
        records.asked = parsed(folder, ASKED, lambda: parse_asked(text))
        records.asks = [Ask(*values) for values in state["asks"]]
        # Before its first fit, a run has seen no answers.
        records.answers_seq = state["answers_seq"] if records.rows or state["stage"] == TRAIN else None
        records.answers_sha256 = state.get("answers_sha256")
    if records.rows:
        records.weights = _tensors(folder, weights_file(len(records.rows) - 1), state)
        _check_counts(records, folder)


def to_restore(records: Records) -> dict[str, Any]:
    """Return what a commit states of the records beside its files."""
    state: dict[str, Any] = {
        "stage": records.stage,
        "rounds": len(records.rows),
        "costs": records.costs,
        "num_validation": len(records.validation),
    }
    known: dict[str, Any] = {"settings": records.settings or None, "pool_seen": records.pool_seen}
    if records.asks:
        known |= {"asks": [list(pair) for pair in records.asks], "answers_seq": records.answers_seq or 0}
        known |= {"answers_sha256": records.answers_sha256}
    else:
        known |= {"pending": len(records.pending), "num_test": len(records.test) or None}
    return state | {key: value for key, value in known.items() if value is not None}


def read_run_folder(path: Path, fingerprint: str) -> Records:
    """Return the records in a folder without locking or writing.

    The labels of the data may have changed. Raises DalError if there are no records.
    """
    while True:
        state, records = read_state(path), Records()
        try:
            check_if_committed(path, DATA, state)
            restore(records, path, state, fingerprint, labels=False)
        except DalError:
            # A run that goes on deletes old weights, so the files may belong to a later commit.
            if read_state(path) == state:
                raise
        else:
            return records


def _check_counts(records: Records, folder: Path) -> None:
    if records.asks:
        return  # labels that people took back are lines of selections.csv too
    last = records.rows[-1]
    bought = sum(point.round < len(records.rows) for point in records.selections)
    if last.get("num_labeled", bought) != bought:
        raise damaged(folder, SELECTIONS, f"{ROUNDS} counts {last['num_labeled']} labels, and this file {bought}")


def _scores(folder: Path, state: State) -> Tensor:
    name: str = state["scores"]
    scores = _tensors(folder, name, state).get("scores")
    if scores is None or scores.dim() != 1 or scores.dtype != torch.float64:
        raise damaged(folder, name)
    return scores


def _tensors(folder: Path, name: str, state: State) -> dict[str, Tensor]:
    path = check_file(folder, name, state)
    try:
        # Load only tensors, because unpickling an untrusted file runs code.
        tensors: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load() raises many types, and some messages recommend running code
        raise damaged(folder, name, f"torch.load() raises {type(error).__name__}") from error
    if not isinstance(tensors, dict) or not all(isinstance(key, str) and _is_plain(t) for key, t in tensors.items()):
        raise damaged(folder, name, "it is not a state dict of tensors")
    return tensors


def _is_plain(value: object) -> bool:
    return isinstance(value, Tensor) and value.layout == torch.strided and value.device.type == "cpu"
