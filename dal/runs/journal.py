"""The journals of a run folder: how a line is written and read."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

from dal.errors import DalError


@dataclass(frozen=True)
class Labeled:
    """A line of selections.csv: what was labeled for which round. The score is None in the initial set."""

    round: int
    rank: int
    index: int
    id: str
    label: int
    score: float | None


def committed_text(journal: Path, committed: Mapping[str, int]) -> str:
    """What of a journal was committed: as many of its first bytes as ``committed`` says for its name. Raises DalError
    where some of them are gone."""
    size = committed.get(journal.name, 0)
    if not size:
        return ""
    with journal.open("rb") as file:
        data = file.read(size)
    if len(data) < size:
        raise DalError(f"run_dir: expected {size} bytes in {str(journal)!r}, got {len(data)}.")
    return data.decode()


def csv_lines(points: Sequence[Labeled], header: bool) -> str:
    """Lines of selections.csv or validation.csv."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if header:
        writer.writerow(field.name for field in fields(Labeled))
    writer.writerows(["" if value is None else value for value in astuple(p)] for p in points)
    return text.getvalue()


def read_csv(text: str) -> list[Labeled]:
    """csv_lines() undone."""
    return [
        Labeled(
            int(line["round"]),
            int(line["rank"]),
            int(line["index"]),
            line["id"],
            int(line["label"]),
            float(line["score"]) if line["score"] else None,
        )
        for line in csv.DictReader(io.StringIO(text))
    ]


def finite(value: Any) -> Any:
    """JSON has no NaN: null stands for it."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    return value
