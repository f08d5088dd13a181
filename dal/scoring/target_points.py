"""Target points from a file: images of the deployment distribution."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from dal.errors import bad_content, bad_value
from dal.runtime.safe_text import spreadsheet_cell

ARGUMENT = "scoring.target_points"


def load_target_points(path: str, ids: Sequence[str]) -> Tensor:
    """Return the (T,) int64 positions in ``ids`` of a file's ids.

    The positions are in the order of the file. The file is a CSV file with a column ``id``, such as the output of
    ``dal rank``, or has one id per line.

    Raises DalError if the file cannot be read or has no ids, or if an id repeats or is not in ``ids``.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8-sig", errors="surrogatepass")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise bad_value(
            ARGUMENT, "a file with one id per line, or a CSV file with a column id", f"{path} ({reason})"
        ) from error
    try:
        rows = list(csv.reader(io.StringIO(text, newline="")))
    except csv.Error:
        rows = []  # a list of ids, which may hold any character but a line feed
    if rows and "id" in rows[0]:
        column = rows[0].index("id")
        found = [row[column] for row in rows[1:] if len(row) > column]
    else:
        found = [line for line in map(str.strip, text.split("\n")) if line]
    if not found:
        raise bad_content(ARGUMENT, "at least one id", f"none in {path!r}")
    # A ranking is for spreadsheets, which see some ids in another spelling.
    places = {str(spreadsheet_cell(name)): place for place, name in enumerate(ids)}
    places |= {name: place for place, name in enumerate(ids)}
    seen: set[str] = set()
    for name in found:
        if name not in places:
            raise bad_value(ARGUMENT, f"ids of the training set, such as {ids[0]!r}", name)
        if name in seen:
            raise bad_value(ARGUMENT, "each id once", name)
        seen.add(name)
    return torch.tensor([places[name] for name in found], dtype=torch.int64)


def unlabeled_targets(targets: Tensor | None, unlabeled: Tensor) -> Tensor | None:
    """Return the (T,) unlabeled target positions; None if none remain.

    With None, the function draws the target points from the pool.

    >>> unlabeled_targets(torch.tensor([7, 3, 5]), torch.tensor([1, 5, 7])), unlabeled_targets(None, torch.tensor([1]))
    (tensor([7, 5]), None)
    """
    if targets is None:
        return None
    left = targets[torch.isin(targets, unlabeled)]
    return left if len(left) else None
