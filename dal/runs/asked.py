"""asked.csv: the points that people are asked to label, and why."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from dal.runs.files.atomic import ANY_TEXT
from dal.runs.files.committed import parsed, read_bytes
from dal.runs.files.state import is_count, read_state
from dal.runs.journal import committed_text
from dal.runs.layout import ASKED, STATE

TEST, VALIDATION, INITIAL, QUERY = "test", "validation", "initial", "query"
KINDS = (TEST, VALIDATION, INITIAL, QUERY)
"""What a point is asked for, in the order in which people are asked."""


@dataclass(frozen=True, slots=True)
class AskedLine:
    """A line of asked.csv: a point that a round asked for.

    ``ask`` counts from 0. ``score`` is the value of the acquisition function. ``suggestion`` is the class that the
    model of the round predicts, with its probability ``confidence``.
    """

    ask: int
    round: int
    rank: int
    index: int
    id: str
    score: float | None = None
    kind: str = QUERY
    suggestion: str | None = None
    confidence: float | None = None


_NAMES = [field.name for field in fields(AskedLine)]


def asked_lines(points: Sequence[AskedLine], header: bool) -> str:
    """Return lines of asked.csv. ``header`` adds the column names.

    >>> asked_lines([AskedLine(0, 0, 0, 7, "7.jpg", kind="test")], header=False)
    '0,0,0,7,7.jpg,,test,,\\n'
    """
    rows = [_NAMES] if header else []
    rows += [[*map(_cell, astuple(p)[:-1]), "" if p.confidence is None else f"{p.confidence:.4f}"] for p in points]
    return "".join(f"{','.join(row)}\n" for row in rows)


def read_asked(folder: Path, committed: bool = True) -> list[AskedLine]:
    """Return the lines of asked.csv, of a folder without that file none.

    With ``committed``, only the lines that state.json commits count. Without it, all whole lines count. Raises DalError
    for a damaged file.
    """
    if committed:
        there = os.path.lexists(folder / STATE)
        text = committed_text(folder, ASKED, read_state(folder)) if there else ""
    else:
        data = read_bytes(folder, ASKED) if os.path.lexists(folder / ASKED) else b""
        text = parsed(folder, ASKED, lambda: data[: _whole(data)].decode(errors=ANY_TEXT))
    return parsed(folder, ASKED, lambda: parse_asked(text))


def parse_asked(text: str) -> list[AskedLine]:
    """Parse the text of asked.csv.

    Raises ValueError for other columns, missing lines, and values of the wrong type.
    """
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    if text and reader.fieldnames != _NAMES:
        raise ValueError("expected the columns of asked.csv")
    lines = [_parse(row) for row in reader]
    if any(line.ask != ask for ask, line in enumerate(lines)):
        raise ValueError("expected asks without a gap")
    return lines


def _whole(data: bytes) -> int:
    """Return the size of the whole lines. A quoted id can contain a line break."""
    end = data.rfind(b"\n") + 1
    while end and data.count(b'"', 0, end) % 2:
        end = data.rfind(b"\n", 0, end - 1) + 1
    return end


def _parse(row: Mapping[str | None, str | None]) -> AskedLine:
    if None in row or None in row.values():
        raise ValueError("expected one value for each column")
    values = {name: row[name] or "" for name in _NAMES}
    ask, round, rank, index = (int(values[name]) for name in ("ask", "round", "rank", "index"))
    numbers = [float(values[name]) if values[name] else None for name in ("score", "confidence")]
    if not all(map(is_count, (ask, round, rank, index))) or values["kind"] not in KINDS:
        raise ValueError("unexpected value")
    if numbers[1] is not None and not 0 <= numbers[1] <= 1:
        raise ValueError("unexpected value of confidence")
    if numbers[0] is not None and math.isnan(numbers[0]):
        raise ValueError("unexpected value of score")
    suggestion = values["suggestion"] or None
    return AskedLine(ask, round, rank, index, values["id"], numbers[0], values["kind"], suggestion, numbers[1])


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    return '"{}"'.format(text.replace('"', '""')) if any(c in text for c in ',"\r\n') else text
