"""Reads and writes the lines of the journals."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

from dal.errors import DalError
from dal.runs.atomic import ANY_TEXT
from dal.runs.layout import FINAL_MODEL, OLD_FINAL_MODEL, QUERY, ROUNDS, STATE
from dal.runs.round import Round

_STATE_KEYS = {"stage", "rounds", "bytes", "data"}


@dataclass(frozen=True)
class Labeled:
    """A line of selections.csv: a labeled point. The score is None in the initial set."""

    round: int
    rank: int
    index: int
    id: str
    label: Any  # an int, or a tuple of class numbers for multi-label data
    score: float | None


@dataclass(frozen=True)
class Asked:
    """A line of query.csv: a point that waits for its label."""

    round: int
    rank: int
    index: int
    id: str
    score: float | None

    def answered(self, label: Any) -> Labeled:
        """Return the line of selections.csv with this label."""
        return Labeled(self.round, self.rank, self.index, self.id, label, self.score)


def read_state(folder: Path) -> dict[str, Any]:
    """Return the last commit of a run. Raises DalError for a damaged file."""
    try:
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
    except ValueError:
        state = None
    if not (isinstance(state, dict) and state.keys() >= _STATE_KEYS and isinstance(state["bytes"], dict)):
        raise DalError(f"run: {STATE} in {str(folder)!r} is damaged. Restore it, or choose another folder.")
    return state


def committed_text(folder: Path, name: str, committed: Mapping[str, int]) -> str:
    """Return the committed part of a journal: its first ``committed[name]`` bytes.

    Raises DalError if some of them are missing.
    """
    size = committed.get(name, 0)
    if not size:
        return ""
    expected = f"run: expected {size} bytes of {name} in {str(folder)!r}, got"
    if not (folder / name).is_file():
        raise DalError(f"{expected} no such file.")
    with (folder / name).open("rb") as file:
        data = file.read(size)
    if len(data) < size:
        raise DalError(f"{expected} {len(data)}.")
    return data.decode(errors=ANY_TEXT)


def committed_rounds(folder: Path, committed: Mapping[str, int]) -> list[Round]:
    """Return the rows of all finished rounds. Raises DalError as committed_text() does."""
    return [Round(json.loads(line)) for line in committed_text(folder, ROUNDS, committed).splitlines()]


def read_final_model(folder: Path) -> Round | None:
    """Return the row of the final model, or None if it is not trained."""
    for name in (FINAL_MODEL, OLD_FINAL_MODEL):
        if (folder / name).is_file():
            return Round(json.loads((folder / name).read_text(encoding="utf-8")))
    return None


def csv_lines(points: Sequence[Labeled] | Sequence[Asked], header: bool) -> str:
    """Return lines of selections.csv, validation.csv or query.csv. ``header`` adds the column names."""
    rows = [[field.name for field in fields(points[0])]] if header and points else []
    rows += [[_cell(value) for value in astuple(p)] for p in points]
    return "".join(f"{','.join(row)}\n" for row in rows)


def _cell(value: Any) -> str:
    """Return a cell of CSV.

    csv.writer leaves a carriage return without quotes before Python 3.13, and csv.reader then sees two rows.
    """
    if isinstance(value, tuple):
        return ";".join(map(str, value)) + (";" if len(value) < 2 else "")
    text = "" if value is None else str(value)
    return '"{}"'.format(text.replace('"', '""')) if any(c in text for c in ',"\r\n') else text


def _label(text: str) -> Any:
    """Parse a label. Semicolons separate class numbers; a set of fewer than two ends in a semicolon."""
    if ";" not in text:
        return int(text)
    return tuple(int(number) for number in text.split(";") if number)


def read_csv(text: str) -> list[Labeled]:
    """Return the points of selections.csv or validation.csv."""
    return [_asked(line).answered(_label(line["label"])) for line in csv.DictReader(io.StringIO(text, newline=""))]


def read_query(folder: Path, num_points: int) -> list[Asked]:
    """Return the points of query.csv. Raises DalError unless it has ``num_points``."""
    path = folder / QUERY
    text = path.read_bytes().decode(errors=ANY_TEXT) if path.is_file() else ""
    points = [_asked(line) for line in csv.DictReader(io.StringIO(text, newline=""))]
    if len(points) != num_points:
        raise DalError(f"run: expected {num_points} points in {str(path)!r}, got {len(points)}.")
    return points


def _asked(line: Mapping[str, str]) -> Asked:
    score = float(line["score"]) if line["score"] else None
    return Asked(int(line["round"]), int(line["rank"]), int(line["index"]), line["id"], score)


def finite(value: Any) -> Any:
    """Replace NaN and infinite numbers by None, since JSON has neither."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    return value
