"""Reads a file of answers: CSV, or one JSON object a line."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dal.data.boxes import Box
from dal.data.sources.folder.csv_text import Row, read_text, rows
from dal.errors import DalError, bad_value, shortened
from dal.labeling.people.events import (
    DAL,
    LABEL,
    MOST_SECONDS,
    NONE,
    SKIP,
    UNREADABLE,
    UNSURE,
    is_annotator,
    is_duration,
)

FORMATS = ("csv", "jsonl")
WORDS = {f"={kind}": kind for kind in (NONE, UNSURE, SKIP, UNREADABLE)}
"""The answers that are no class, as a file writes them."""

_NUMBER = re.compile(r"\+?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_DELIMITERS = (",", ";", "\t")
_OURS = {"id", "index", "label", "annotator", "seconds"}
_ASKED = {"rank", "score", "kind", "suggestion", "confidence", "mask", *Box._fields}
"""Columns of the file that `dal ask` writes. They are not answers."""


@dataclass(frozen=True)
class Told:
    """One answer in a file. ``label`` is the name of the class if ``kind`` is ``label``."""

    line: int
    id: str
    kind: str
    label: str | None
    index: int | None = None
    annotator: str | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class ToldFile:
    """The answers in a file, and the number of its rows without an answer.

    ``masks`` are the paths of masks that the rows name, with or without an answer.
    """

    told: list[Told]
    unanswered: int
    masks: list[str]


def read_told(path: Path, format: str = "auto", masks: bool = False) -> ToldFile:
    """Return the answers in a file.

    A CSV file has the columns id and label, and can have index, annotator and seconds. Commas, semicolons or tabs
    separate them. The columns that `dal ask` adds are ignored. A JSONL file has objects with the same keys. A label is
    a class, or ``=none``, ``=unsure``, ``=skip`` or ``=unreadable``. A row with an empty label has no answer. With
    ``masks``, a label is the path of a mask, relative to the folder of the file. The column ``mask`` then fills an
    empty label once its file exists.

    Raises DalError, with the line, for a malformed file, an unknown column, and a value of the wrong type.
    """
    if format not in ("auto", *FORMATS):
        raise bad_value("--format", "auto, csv or jsonl", format)
    text = read_text(path, "answers")
    is_json = format == "jsonl" or (format == "auto" and text.lstrip().startswith("{"))
    found = _json_rows(text, path) if is_json else _csv_rows(text, path)
    named = [str(values["mask"]).removeprefix("'") for _, values in found if values.get("mask")] if masks else []
    if masks:
        for _, values in found:
            mask = str(values.get("mask") or "").removeprefix("'")
            if values.get("label") in (None, "") and mask and (path.parent / mask).is_file():
                values["label"] = mask
    told = [_told(line, values) for line, values in found if values.get("label") not in (None, "")]
    return ToldFile(told, len(found) - len(told), named)


def _told(line: int, values: dict[str, Any]) -> Told:
    id, label = values.get("id"), values["label"]
    if not isinstance(id, str) or not id:
        raise bad_value("id", f"the id of an image (line {line})", id)
    if not isinstance(label, str):
        raise bad_value("label", f"a class as text (line {line})", label)
    if label.startswith("=") and label not in WORDS:
        raise bad_value("label", f"a class, or one of {', '.join(WORDS)} (line {line})", label)
    annotator = values.get("annotator")
    annotator = None if annotator == "" else annotator
    if annotator is not None and (not is_annotator(annotator) or annotator == DAL):
        raise bad_value("annotator", f"1 to 64 letters, digits or ._@-, and not {DAL} (line {line})", annotator)
    kind = WORDS.get(label, LABEL)
    name = label if kind == LABEL else None
    return Told(line, id, kind, name, _index(line, values.get("index")), annotator, _seconds(line, values))


def _index(line: int, value: Any) -> int | None:
    if value in (None, ""):
        return None
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 16:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise bad_value("index", f"a whole number from 0 (line {line})", value)


def _seconds(line: int, values: dict[str, Any]) -> float | None:
    value = values.get("seconds")
    if value in (None, ""):
        return None
    seconds = float(value) if isinstance(value, str) and _NUMBER.fullmatch(value.strip()) else value
    if not is_duration(seconds):
        raise bad_value("seconds", f"a number from 0 to {MOST_SECONDS:,} (line {line})", value)
    return float(seconds)


def _json_rows(text: str, path: Path) -> list[tuple[int, dict[str, Any]]]:
    found = []
    for line, row in enumerate(text.split("\n"), start=1):
        if not row.strip():
            continue
        where = f"line {line} of {path}"
        try:
            # Without the hook, the last of two equal keys would count.
            pairs = json.loads(row, object_pairs_hook=_Pairs)
        except (ValueError, RecursionError):
            pairs = None
        if not isinstance(pairs, _Pairs):
            raise DalError(f"answers: expected one JSON object a line, got {shortened(row)} ({where}).")
        names = [name for name, _ in pairs]
        _check_columns(names, where)
        if not {"id", "label"} <= set(names):
            raise bad_value("answers", f"the keys id and label in each line ({where})", names)
        found.append((line, dict(pairs)))
    return found


class _Pairs(list[tuple[str, Any]]):
    """The keys and values of a JSON object."""


def _csv_rows(text: str, path: Path) -> list[tuple[int, dict[str, Any]]]:
    tables = [_table(text, delimiter, path) for delimiter in _DELIMITERS]
    fitting = [table for table in tables if {"id", "label"} <= set(table[0].cells)]
    if not fitting:
        columns = max((table[0].cells for table in tables), key=len)
        raise bad_value("answers", f"the columns id and label in {path}", columns)
    header, *body = fitting[0]
    _check_columns(header.cells, str(path))
    found = []
    for line, cells in body:
        if len(cells) != len(header.cells):
            raise DalError(f"answers: expected {len(header.cells)} cells (line {line} of {path}), got {len(cells)}.")
        found.append((line, dict(zip(header.cells, cells, strict=True))))
    return found


def _table(text: str, delimiter: str, path: Path) -> list[Row]:
    try:
        return list(rows(text, delimiter, path, "answers")) or [Row(1, [])]
    except DalError:
        if delimiter == _DELIMITERS[0]:
            raise
        return [Row(1, [])]


def _check_columns(columns: list[str], where: str) -> None:
    """Raise DalError for an unknown or repeated column, which could be a misspelled one."""
    for name in columns:
        if name not in _OURS | _ASKED:
            raise bad_value("answers", f"only the columns {', '.join(sorted(_OURS))} ({where})", name)
        if columns.count(name) > 1:
            raise bad_value("answers", f"each column once ({where})", name)
