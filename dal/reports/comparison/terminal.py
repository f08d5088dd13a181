"""Tables in a terminal of any width and encoding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from dal.reports.comparison.tables import Table
from dal.runtime.console import encodable
from dal.runtime.safe_text import visible

# Replacements for terminals without Unicode.
_ASCII = str.maketrans({"±": "+-", "–": "-", "≤": "<=", "∞": "inf", "…": "..."})
_BETWEEN, _EDGES = 2, 2  # cells between two columns, and at both ends
_LEAST_NAME = 8  # cells


def print_table(console: Console, table: Table) -> None:
    """Print a table with its caption.

    If the terminal is too narrow, the remaining columns follow below, with the names repeated. Long names wrap; numbers
    are never truncated.
    """
    table = _shown(console, table)
    console.print(Text(table.title, style="bold"))
    for columns in _parts(table, console.width):
        console.print(_table(table, console.width, columns))
    say(console, table.caption, style="dim")
    console.print()


def say(console: Console, sentence: str, style: str = "") -> None:
    """Print a sentence, wrapped at words."""
    console.print(Text(_say(console, sentence), style=style))


def _parts(table: Table, width: int) -> list[list[int]]:
    """Return the number columns of each part."""
    room = width - sum(_name_widths(table, width)) - _BETWEEN * (table.names - 1) - _EDGES
    parts: list[list[int]] = [[]]
    left = room
    for column in range(table.names, len(table.header)):
        needed = _BETWEEN + _number_width(table, column)
        if needed > left and parts[-1]:
            parts.append([])
            left = room
        parts[-1].append(column)
        left -= needed
    return parts


def _name_widths(table: Table, width: int) -> list[int]:
    """Return the widths of the name columns.

    Together they take at most half of the terminal, or two thirds for two columns.
    """
    widest = max((_number_width(table, i) for i in range(table.names, len(table.header))), default=0)
    room = min(width * table.names // (table.names + 1), width - _EDGES - _BETWEEN * table.names - widest)
    most = max(_LEAST_NAME, room // table.names)
    wanted = [max(cell_len(row[i]) for row in [table.header, *table.rows]) for i in range(table.names)]
    return [min(cells, most) for cells in wanted]


def _number_width(table: Table, column: int) -> int:
    words = table.header[column].split()
    return max([cell_len(row[column]) for row in table.rows] + [cell_len(word) for word in words])


def _table(table: Table, width: int, columns: Sequence[int]) -> RichTable:
    drawn = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), safe_box=True)
    for i, cells in enumerate(_name_widths(table, width)):
        drawn.add_column(Text(table.header[i]), width=cells, overflow="fold", vertical="bottom")
    for column in columns:
        drawn.add_column(
            Text(table.header[column]), justify="right", width=_number_width(table, column), overflow="fold"
        )
    for row in table.rows:
        drawn.add_row(*(Text(row[i]) for i in [*range(table.names), *columns]))
    return drawn


def _shown(console: Console, table: Table) -> Table:
    """Encode a table for the terminal.

    Encode before measuring, because replacements change widths.
    """
    rows = tuple(tuple(_say(console, cell) for cell in row) for row in table.rows)
    header = tuple(_say(console, cell) for cell in table.header)
    return replace(table, title=_say(console, table.title), header=header, rows=rows)


def _say(console: Console, text: str) -> str:
    text = visible(text)
    if encodable(text, console.encoding) == text:
        return text
    return text.translate(_ASCII).encode(console.encoding, "replace").decode(console.encoding)
