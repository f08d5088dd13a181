"""state.json: the last commit of a run, and its checks."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dal.errors import DalError
from dal.runs.files.atomic import write_text
from dal.runs.files.committed import damaged, parsed, read_bytes
from dal.runs.layout import (
    ANSWER,
    ANSWER_TEST,
    ANSWER_VALIDATION,
    ASKED,
    DONE,
    ROUNDS,
    SELECT,
    SELECTIONS,
    STATE,
    TRAIN,
)

State = Mapping[str, Any]

_STAGES = (SELECT, ANSWER, TRAIN, DONE, ANSWER_TEST, ANSWER_VALIDATION)
_NO_DIGESTS = (
    "run: folders of older versions of dal have no digests, so a value that changed in their files is not noticed. "
    "Resume a run to add them."
)
_SCORES = re.compile(r"scores_[0-9]{3,18}\.pt")


def write_state(folder: Path, state: State) -> None:
    """Commit a state by replacing state.json, which includes a digest of itself."""
    write_text(folder / STATE, json.dumps({**state, "digest": _digest(state)}, indent=1) + "\n")


def read_state(folder: Path) -> dict[str, Any]:
    """Return the last commit of a run.

    A warning says that a run of an older version has no digests. Raises DalError for a missing or damaged file.
    """
    if not os.path.lexists(folder / STATE):
        raise DalError(f"run: expected a run folder, got {str(folder)!r}, which has no {STATE}.")
    data = read_bytes(folder, STATE)
    state: Any = parsed(folder, STATE, lambda: json.loads(data.decode()))
    if not (isinstance(state, dict) and state.keys() >= _REQUIRED):
        raise damaged(folder, STATE)
    own = state.pop("digest", None)
    if own is None and "digests" in state:
        raise damaged(folder, STATE)
    if own is not None and (own != _digest(state) or "digests" not in state):
        raise damaged(folder, STATE)
    if not (all(check(state[key]) for key, check in _CHECKS.items() if key in state) and _is_consistent(state)):
        raise damaged(folder, STATE)
    if own is None:
        # The same text for every folder and a fixed line, so that Python shows it once.
        warnings.warn(_NO_DIGESTS, stacklevel=1)
    return state


def _digest(state: State) -> str:
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


def is_count(value: object) -> bool:
    """Return whether a value is a whole number from 0 to 2^53."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def is_number(value: object) -> bool:
    """Return whether a value is a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 1e300 and math.isfinite(value)


def _is_table(of_key: Callable[[object], bool], of_value: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, dict) and all(of_key(k) and of_value(v) for k, v in value.items())


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_settings(value: object) -> bool:
    """Whether a value holds the settings of a campaign: the data, the function, the seed and sections."""
    if not isinstance(value, dict) or not all(isinstance(value.get(name), dict) for name in ("data", "acquisition")):
        return False
    return isinstance(value.get("seed"), int) and all(
        _is_text(value[name].get("name")) for name in ("data", "acquisition")
    )


def _is_journal(value: object) -> bool:
    return value in (ROUNDS, SELECTIONS, ASKED)


def _is_asks(value: object) -> bool:
    """Whether a value lists the queries of asked.csv: first line, answers that the choice saw, and round."""
    if not isinstance(value, list):
        return False
    return all(isinstance(pair, list) and len(pair) == 3 and all(map(is_count, pair)) for pair in value)


def _is_pool_seen(value: object) -> bool:
    """Whether a value counts the predicted classes of a pool, and sums their probabilities."""
    if not isinstance(value, dict) or not is_count(value.get("size")):
        return False
    counts, sums = value.get("counts"), value.get("probabilities")
    if not isinstance(counts, list) or not isinstance(sums, list) or len(counts) != len(sums):
        return False
    return all(map(is_count, counts)) and all(is_number(one) and one >= 0 for one in sums)


def _is_consistent(state: State) -> bool:
    """Return whether the parts of a commit agree."""
    asked = state["stage"] in (ANSWER, ANSWER_TEST, ANSWER_VALIDATION)
    if "pending" in state and bool(state["pending"]) != asked:
        return False
    if state["stage"] == DONE and not state["rounds"]:
        return False
    return bool(state["bytes"].get(ROUNDS)) == bool(state["rounds"])


_REQUIRED = {"stage", "rounds", "bytes", "data"}
_CHECKS: dict[str, Callable[[Any], bool]] = {
    "stage": lambda value: isinstance(value, str) and value in _STAGES,
    "rounds": is_count,
    "bytes": _is_table(_is_journal, is_count),
    "data": _is_text,
    "costs": _is_table(_is_text, lambda value: value is None or is_number(value)),
    "scores": lambda value: value is None or (isinstance(value, str) and _SCORES.fullmatch(value) is not None),
    "pending": is_count,
    "num_test": is_count,
    "num_validation": is_count,
    "answers_seq": is_count,
    "answers_sha256": _is_text,
    "asks": _is_asks,
    "primary_metric": _is_text,
    "settings": _is_settings,
    "pool_seen": _is_pool_seen,
    "digests": _is_table(_is_text, _is_text),
}
