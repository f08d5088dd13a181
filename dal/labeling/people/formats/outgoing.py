"""Writes what people are asked: CSV, or one JSON object a line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from dal.data.boxes import Box
from dal.errors import bad_value
from dal.labeling.people.formats.incoming import FORMATS
from dal.runs.asked import AskedLine
from dal.runtime.safe_text import spreadsheet_cell

COLUMNS = ("rank", "index", "id", "score", "kind", "suggestion", "label")


def asked_text(
    asked: Sequence[AskedLine],
    format: str = "csv",
    boxes: Sequence[Box] | None = None,
    masks: Sequence[str] | None = None,
) -> str:
    """Return the points that people are asked for, best first.

    The columns are ``rank,index,id,score,kind,suggestion,label``. The last one is empty, for the answers. A cell that a
    spreadsheet would read as a formula gets a leading apostrophe. For ``boxes`` in the image files, the columns
    ``x,y,width,height`` come before the label, and for ``masks``, which are paths of files to make, the column
    ``mask``.
    """
    if format not in FORMATS:
        raise bad_value("--format", "csv or jsonl", format)
    columns = [*COLUMNS[:-1], *(Box._fields if boxes else ()), *(("mask",) if masks else ()), COLUMNS[-1]]
    rows: list[list[Any]] = []
    for rank, one in enumerate(asked):
        more = [*(boxes[rank] if boxes else ()), *(masks[rank : rank + 1] if masks else ())]
        rows.append([rank, one.index, one.id, one.score, one.kind, one.suggestion, *more, None])
    if format == "jsonl":
        return "".join(json.dumps(dict(zip(columns, row, strict=True))) + "\n" for row in rows)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([spreadsheet_cell("" if cell is None else cell) for cell in row] for row in rows)
    return text.getvalue()
