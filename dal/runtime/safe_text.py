"""Makes user text, such as file names and classes, safe to display.

There is one function per format, for terminals, spreadsheets and figures. The functions for HTML and LaTeX are in the
modules that write these formats.
"""

from __future__ import annotations

import unicodedata

# Marks that change the direction of the text around them, which can disguise a line.
_BIDIRECTIONAL = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_HIDDEN = frozenset({"Cc", "Cs", "Zl", "Zp"})
_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n")


def visible(text: str, keep: str = "") -> str:
    r"""Replace invisible characters and terminal controls by escapes.

    These are control characters, marks of text direction, line separators and halves of undecodable characters.
    ``keep`` are characters that are not replaced.

    >>> print(visible("a\x1b[31m\r\u202eb"))
    a\x1b[31m\r\u202eb
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in keep or not _is_hidden(c) else ascii(c)[1:-1] for c in text)


def _is_hidden(character: str) -> bool:
    return character in _BIDIRECTIONAL or unicodedata.category(character) in _HIDDEN


def spreadsheet_cell(value: object) -> object:
    """Return a cell that a spreadsheet does not run as a formula.

    Text that starts like a formula gets a leading apostrophe. Numbers and other values do not change.

    >>> spreadsheet_cell("=1+1"), spreadsheet_cell("-0.5"), spreadsheet_cell(-0.5)
    ("'=1+1", '-0.5', -0.5)
    """
    if not isinstance(value, str):
        return value
    text = visible(value)
    return f"'{text}" if value.lstrip(" ").startswith(_FORMULAS) and not _is_number(value) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def figure_text(text: str) -> str:
    r"""Return text that Matplotlib draws literally.

    Otherwise, a dollar sign begins a formula, and a leading underscore hides a line from the legend.

    >>> figure_text("$x$ and y"), figure_text("_mine")
    ('\\$x\\$ and y', ' _mine')
    """
    shown = visible(text, keep="\n").replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown
