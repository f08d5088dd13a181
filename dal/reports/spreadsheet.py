"""Tables as CSV for spreadsheets."""

from __future__ import annotations

import pandas as pd

from dal.runtime.safe_text import spreadsheet_cell


def spreadsheet_csv(table: pd.DataFrame) -> str:
    """Return CSV without cells that a spreadsheet runs as formulas.

    >>> print(spreadsheet_csv(pd.DataFrame({"name": ["=1+1"], "x": [-0.5]})), end="")
    name,x
    '=1+1,-0.5
    """
    cells = table.map(spreadsheet_cell).rename(columns=spreadsheet_cell)
    text: str = cells.to_csv(index=False, lineterminator="\n")
    return text
