"""Reads and writes lines of the journals."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from dal.costs.kinds import KINDS, cost_key
from dal.costs.phases import Costs
from dal.errors import DalError
from dal.runs.files.committed import checked_text, damaged, parsed
from dal.runs.files.state import State, is_count, is_number
from dal.runs.layout import DONE, QUERY, ROUNDS, SELECTIONS, STATE, TEST, TRAIN, VALIDATION
from dal.runs.round import Round


@dataclass(frozen=True)
class Labeled:
    """A line of selections.csv: a labeled point.

    The score is None in the initial set.
    """

    round: int
    rank: int
    index: int
    id: str
    label: Any  # an int, or a tuple of class numbers for multi-label data
    score: float | None


@dataclass(frozen=True)
class Asked:
    """A line of query.csv: a point whose label is pending."""

    round: int
    rank: int
    index: int
    id: str
    score: float | None

    def answered(self, label: Any) -> Labeled:
        """Return the line of selections.csv with this label."""
        return Labeled(self.round, self.rank, self.index, self.id, label, self.score)


_Point = TypeVar("_Point", Labeled, Asked)


def committed_text(folder: Path, name: str, state: State) -> str:
    """Return the committed part of a journal: its first ``state["bytes"][name]`` bytes.

    Raises DalError if some of them are missing or differ.
    """
    size: int = state["bytes"].get(name, 0)
    return checked_text(folder, name, state, size) if size else ""


def committed_rounds(folder: Path, state: State) -> list[Round]:
    """Return the rows of all finished rounds.

    Raises DalError as committed_text() does, and for values of the wrong type.
    """
    text = committed_text(folder, ROUNDS, state)
    rows = parsed(folder, ROUNDS, lambda: [parse_row(line) for line in text.splitlines()])
    if len(rows) != state["rounds"] or not all(row.get("round", i) == i for i, row in enumerate(rows)):
        raise damaged(folder, ROUNDS, f"it does not contain the {state['rounds']} rounds that {STATE} commits")
    if any(one.get("labels_bought", 0) > other.get("labels_bought", math.inf) for one, other in pairwise(rows)):
        raise damaged(folder, ROUNDS, "labels_bought decreases")
    trains_again = "asks" in state and state["stage"] == TRAIN  # on labels that changed after the campaign
    if rows and (rows[-1].campaign_stopped is not None) != (state["stage"] == DONE) and not trains_again:
        raise damaged(folder, ROUNDS, f"its campaign_stopped does not fit the stage in {STATE}")
    return rows


def parse_row(line: str) -> Round:
    """Parse a line of rounds.jsonl.

    Raises ValueError for values of the wrong type.
    """
    row = json.loads(line, parse_constant=_no_constant)
    if not isinstance(row, dict):
        raise ValueError("expected an object")
    for key, value in row.items():
        if not _is_fine(key, value):
            raise ValueError(f"unexpected value of {key}")
    return Round(row)


def _no_constant(name: str) -> None:
    raise ValueError(f"unexpected {name}")


_COUNTS = {"round", "num_labeled", "num_validation", "labels_bought", "num_outside", "updates", "devices"}
_COUNTS |= {"num_test", "num_unsure", "num_none", "num_corrected", "answers_seq", "behind", "rho", "labels_changed"}
_TEXTS = {"campaign_stopped", "training_stopped", "backbone", "weights", "weights_sha256"}
_TEXTS |= {"answers_sha256", "labels_sha256"}
_COSTS = (*(f"{field.name}_" for field in fields(Costs)), *map(cost_key, KINDS))


def _is_fine(key: str, value: Any) -> bool:
    if key in _COUNTS:
        return is_count(value)
    if key in _TEXTS:
        return value is None or isinstance(value, str)
    if key.startswith(_COSTS):
        return value is None or (is_number(value) and value >= 0)
    if key.startswith(("test_", "val_", "train_")):
        return value is None or isinstance(value, dict | list) or is_number(value)
    return not isinstance(value, int | float) or isinstance(value, bool) or is_number(value)


def csv_lines(points: Sequence[Labeled] | Sequence[Asked], header: bool) -> str:
    """Return lines of selections.csv, validation.csv or query.csv. ``header`` adds the column names."""
    rows = [[field.name for field in fields(points[0])]] if header and points else []
    rows += [[_cell(value) for value in astuple(p)] for p in points]
    return "".join(f"{','.join(row)}\n" for row in rows)


def _cell(value: Any) -> str:
    """Return a cell of CSV.

    Before Python 3.13, csv.writer does not quote a carriage return, and csv.reader then reads two rows.
    """
    if isinstance(value, tuple):
        return ";".join(map(str, value)) + (";" if len(value) < 2 else "")
    text = "" if value is None else str(value)
    return '"{}"'.format(text.replace('"', '""')) if any(c in text for c in ',"\r\n') else text


def _label(text: str) -> Any:
    """Parse a label.

    Semicolons separate class numbers. A set of fewer than two ends with a semicolon.
    """
    if ";" not in text:
        return int(text)
    return tuple(int(number) for number in text.split(";") if number)


def read_selections(folder: Path, state: State) -> list[Labeled]:
    """Return the committed points of selections.csv.

    Raises DalError as committed_text() does, and if the points do not fit the rounds of the run.
    """
    points = _labeled(folder, SELECTIONS, committed_text(folder, SELECTIONS, state))
    numbers = [point.round for point in points]
    last = state["rounds"] if state["stage"] == TRAIN else state["rounds"] - 1
    # With people, a round can have no new training label, for example after a correction.
    missing = set() if "answers_seq" in state else set(range(last + 1)) - set(numbers)
    if points and (numbers != sorted(numbers) or missing or numbers[-1] > last):
        raise damaged(folder, SELECTIONS, "its rounds do not fit those of the run")
    return points


def read_validation(folder: Path, state: State) -> list[Labeled]:
    """Return the points of validation.csv.

    Raises DalError if the number of points differs from that of the run.
    """
    size: int = state.get("num_validation", 0)
    points = _labeled(folder, VALIDATION, checked_text(folder, VALIDATION, state)) if size else []
    return _counted(folder, VALIDATION, points, size)


def read_test(folder: Path, state: State) -> list[Labeled]:
    """Return the points of test.csv, the test set that was bought from the pool.

    Raises DalError if the number of points differs from that of the run.
    """
    size: int = state.get("num_test", 0)
    points = _labeled(folder, TEST, checked_text(folder, TEST, state)) if size else []
    return _counted(folder, TEST, points, size)


def read_query(folder: Path, state: State) -> list[Asked]:
    """Return the points of query.csv.

    Raises DalError if the number of points differs from that of the pending query.
    """
    size: int = state.get("pending", 0)
    if not size:
        return []
    text = checked_text(folder, QUERY, state)
    points = parsed(folder, QUERY, lambda: [_asked(line) for line in csv.DictReader(io.StringIO(text, newline=""))])
    return _counted(folder, QUERY, points, size)


def _labeled(folder: Path, name: str, text: str) -> list[Labeled]:
    lines = csv.DictReader(io.StringIO(text, newline=""))
    return parsed(folder, name, lambda: [_asked(line).answered(_label(line["label"])) for line in lines])


def _counted(folder: Path, name: str, points: list[_Point], size: int) -> list[_Point]:
    if len(points) != size:
        raise DalError(f"run: expected {size} points in {str(folder / name)!r}, got {len(points)}.")
    return points


def _asked(line: Mapping[str, str]) -> Asked:
    """Parse a line. Raises ValueError for a line with missing values."""
    round, rank, index = (int(line[name]) for name in ("round", "rank", "index"))
    if None in line or None in line.values() or not (is_count(round) and is_count(rank) and is_count(index)):
        raise ValueError("expected one value for each column")
    score = float(line["score"]) if line["score"] else None
    return Asked(round, rank, index, line["id"], score)


def finite(value: Any) -> Any:
    """Replace NaN and infinite numbers, which JSON lacks, by None."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    return value
