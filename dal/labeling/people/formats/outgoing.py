"""Writes what people are asked: CSV, or one JSON object a line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence

from dal.errors import bad_value
from dal.labeling.people.formats.incoming import FORMATS
from dal.runs.asked import AskedLine
from dal.runtime.safe_text import spreadsheet_cell

COLUMNS = ("rank", "index", "id", "score", "kind", "suggestion", "label")


def asked_text(asked: Sequence[AskedLine], format: str = "csv") -> str:
    """Return the points that people are asked for, best first.

    The columns are ``rank,index,id,score,kind,suggestion,label``. The last one is empty, for the answers. A cell that a
    spreadsheet would read as a formula gets a leading apostrophe.
    """
    if format not in FORMATS:
        raise bad_value("--format", "csv or jsonl", format)
    rows = [(rank, one.index, one.id, one.score, one.kind, one.suggestion, None) for rank, one in enumerate(asked)]
    if format == "jsonl":
        return "".join(json.dumps(dict(zip(COLUMNS, row, strict=True))) + "\n" for row in rows)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([spreadsheet_cell("" if cell is None else cell) for cell in row] for row in rows)
    return text.getvalue()
