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
from dal.runs.layout import FINAL_MODEL, OLD_FINAL_MODEL, QUERY, ROUNDS, STATE
from dal.runs.round import Round

_STATE_KEYS = {"stage", "rounds", "bytes", "data"}


@dataclass(frozen=True)
class Labeled:
    """A line of selections.csv: what was labeled for which round. The score is None in the initial set."""

    round: int
    rank: int
    index: int
    id: str
    label: Any  # an int, or a tuple of class numbers for multi-label data
    score: float | None


@dataclass(frozen=True)
class Asked:
    """A line of query.csv: a point whose label is asked for."""

    round: int
    rank: int
    index: int
    id: str
    score: float | None

    def answered(self, label: Any) -> Labeled:
        """The line of selections.csv, once the label is known."""
        return Labeled(self.round, self.rank, self.index, self.id, label, self.score)


def read_state(folder: Path) -> dict[str, Any]:
    """The last commit of a run. Raises DalError for a file that holds something else."""
    try:
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
    except ValueError:
        state = None
    if not (isinstance(state, dict) and state.keys() >= _STATE_KEYS and isinstance(state["bytes"], dict)):
        raise DalError(f"run: expected the {STATE} of a run in {str(folder)!r}, got something else.")
    return state


def committed_text(folder: Path, name: str, committed: Mapping[str, int]) -> str:
    """What of a journal was committed: as many of its first bytes as ``committed`` says for its name. Raises DalError
    where some of them are gone."""
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
    return data.decode()


def committed_rounds(folder: Path, committed: Mapping[str, int]) -> list[Round]:
    """The rows of all finished rounds. Raises DalError as committed_text() does."""
    return [Round(json.loads(line)) for line in committed_text(folder, ROUNDS, committed).splitlines()]


def read_final_model(folder: Path) -> Round | None:
    """What a run folder says of the final model of its campaign; None where it is not trained."""
    for name in (FINAL_MODEL, OLD_FINAL_MODEL):
        if (folder / name).is_file():
            return Round(json.loads((folder / name).read_text(encoding="utf-8")))
    return None


def csv_lines(points: Sequence[Labeled] | Sequence[Asked], header: bool) -> str:
    """Lines of selections.csv, validation.csv or query.csv. ``header`` adds the names of the columns before them."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if header and points:
        writer.writerow(field.name for field in fields(points[0]))
    writer.writerows([_cell(value) for value in astuple(p)] for p in points)
    return text.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, tuple):
        return ";".join(map(str, value)) + (";" if len(value) < 2 else "")
    return "" if value is None else value


def _label(text: str) -> Any:
    """A label as it was written: several class numbers have semicolons between them, fewer than two end in one."""
    if ";" not in text:
        return int(text)
    return tuple(int(number) for number in text.split(";") if number)


def read_csv(text: str) -> list[Labeled]:
    """The points of selections.csv or validation.csv."""
    return [_asked(line).answered(_label(line["label"])) for line in csv.DictReader(io.StringIO(text))]


def read_query(folder: Path, num_points: int) -> list[Asked]:
    """The points of query.csv. Raises DalError unless there are ``num_points``."""
    path = folder / QUERY
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    points = [_asked(line) for line in csv.DictReader(io.StringIO(text))]
    if len(points) != num_points:
        raise DalError(f"run: expected {num_points} points in {str(path)!r}, got {len(points)}.")
    return points


def _asked(line: Mapping[str, str]) -> Asked:
    score = float(line["score"]) if line["score"] else None
    return Asked(int(line["round"]), int(line["rank"]), int(line["index"]), line["id"], score)


def finite(value: Any) -> Any:
    """JSON has no NaN: null stands for it."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    return value
