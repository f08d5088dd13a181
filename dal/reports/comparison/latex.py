"""Tables as LaTeX tables, for papers; only booktabs is required."""

from __future__ import annotations

import re
from collections.abc import Iterable

from dal.reports.comparison.tables import Table
from dal.runtime.safe_text import visible

_ESCAPES = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\(<\)",
        ">": r"\(>\)",
        "±": r"\(\pm\)",
        "≤": r"\(\le\)",
        "∞": r"\(\infty\)",
        "–": "--",
    }
)


def latex(tables: Iterable[Table]) -> str:
    """Return a LaTeX file to \\input, with one table environment per table.

    The file needs \\usepackage{booktabs}.
    """
    return "% Needs \\usepackage{booktabs}.\n\n" + "\n".join(map(_table, tables))


def escape(text: str) -> str:
    r"""Escape text for LaTeX.

    >>> print(escape("least_confidence, 5 % ± 1"))
    least\_confidence, 5 \% \(\pm\) 1
    >>> print(escape("-0.6 ± 0.3 of 3-nn"))
    \(-\)0.6 \(\pm\) 0.3 of 3-nn
    """
    return re.sub(r"(?<!\S)-(?=\d)", r"\\(-\\)", visible(text).translate(_ESCAPES))


def _table(table: Table) -> str:
    columns = "l" * table.names + "r" * (len(table.header) - table.names)
    lines = [
        r"\begin{table}[t]",
        r"\centering\small",
        rf"\caption{{{escape(table.title)}. {escape(table.caption)}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        _row(table.header),
        r"\midrule",
        *(_row(row) for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
        "",
    ]
    return "\n".join(lines)


def _row(cells: Iterable[str]) -> str:
    return " & ".join(map(escape, cells)) + r" \\"
