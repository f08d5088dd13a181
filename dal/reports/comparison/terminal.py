"""Sheets in a terminal of any width and encoding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dal.reports.comparison.tables import Sheet

# What a terminal without Unicode is shown instead.
_ASCII = str.maketrans({"±": "+-", "–": "-", "≤": "<=", "∞": "inf", "…": "..."})
_BETWEEN, _EDGES = 2, 2  # cells between two columns, and at both ends
_LEAST_NAME = 8  # cells


def print_sheet(console: Console, sheet: Sheet) -> None:
    """Print a table with its caption. Where the terminal is too narrow for all columns, the rest follows below, with
    the names again; long names are folded, and numbers are never cut."""
    sheet = _shown(console, sheet)
    console.print(Text(sheet.title, style="bold"))
    for columns in _parts(sheet, console.width):
        console.print(_table(sheet, console.width, columns))
    say(console, sheet.caption, style="dim")
    console.print()


def say(console: Console, sentence: str, style: str = "") -> None:
    """Print a sentence, folded at words."""
    console.print(Text(_say(console, sentence), style=style))


def _parts(sheet: Sheet, width: int) -> list[list[int]]:
    """The columns of numbers of each part."""
    room = width - sum(_name_widths(sheet, width)) - _BETWEEN * (sheet.names - 1) - _EDGES
    parts: list[list[int]] = [[]]
    left = room
    for column in range(sheet.names, len(sheet.header)):
        needed = _BETWEEN + _number_width(sheet, column)
        if needed > left and parts[-1]:
            parts.append([])
            left = room
        parts[-1].append(column)
        left -= needed
    return parts


def _name_widths(sheet: Sheet, width: int) -> list[int]:
    """Names may take half of the terminal, or two thirds where there are two, and are folded beyond it."""
    widest = max((_number_width(sheet, i) for i in range(sheet.names, len(sheet.header))), default=0)
    room = min(width * sheet.names // (sheet.names + 1), width - _EDGES - _BETWEEN * sheet.names - widest)
    most = max(_LEAST_NAME, room // sheet.names)
    wanted = [max(cell_len(row[i]) for row in [sheet.header, *sheet.rows]) for i in range(sheet.names)]
    return [min(cells, most) for cells in wanted]


def _number_width(sheet: Sheet, column: int) -> int:
    words = sheet.header[column].split()
    return max([cell_len(row[column]) for row in sheet.rows] + [cell_len(word) for word in words])


def _table(sheet: Sheet, width: int, columns: Sequence[int]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), safe_box=True)
    for i, cells in enumerate(_name_widths(sheet, width)):
        table.add_column(Text(sheet.header[i]), width=cells, overflow="fold", vertical="bottom")
    for column in columns:
        table.add_column(
            Text(sheet.header[column]), justify="right", width=_number_width(sheet, column), overflow="fold"
        )
    for row in sheet.rows:
        table.add_row(*(Text(row[i]) for i in [*range(sheet.names), *columns]))
    return table


def _shown(console: Console, sheet: Sheet) -> Sheet:
    """In characters that the terminal has; before its columns are measured, since these are other widths."""
    rows = tuple(tuple(_say(console, cell) for cell in row) for row in sheet.rows)
    header = tuple(_say(console, cell) for cell in sheet.header)
    return replace(sheet, title=_say(console, sheet.title), header=header, rows=rows)


def _say(console: Console, text: str) -> str:
    try:
        text.encode(console.encoding)
    except UnicodeEncodeError:
        return text.translate(_ASCII).encode(console.encoding, "replace").decode(console.encoding)
    return text
