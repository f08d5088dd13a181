"""Makes text of the user's, such as file names and classes, safe for what shows it.

One function for each format: a terminal, a spreadsheet, a figure. HTML and LaTeX stand next to the pages that they
write.
"""

from __future__ import annotations

import unicodedata

# Marks that change the direction of the text around them, so that a line reads as another one.
_BIDIRECTIONAL = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_HIDDEN = frozenset({"Cc", "Cs", "Zl", "Zp"})
_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n")


def visible(text: str, keep: str = "") -> str:
    r"""Replace characters that control a terminal or have no shape by their escapes.

    These are control characters, marks of text direction, line separators and halves of undecodable characters.
    ``keep`` are characters that stay.

    >>> print(visible("a\x1b[31m\r\u202eb"))
    a\x1b[31m\r\u202eb
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in keep or not _is_hidden(c) else ascii(c)[1:-1] for c in text)


def _is_hidden(character: str) -> bool:
    return character in _BIDIRECTIONAL or unicodedata.category(character) in _HIDDEN


def spreadsheet_cell(value: object) -> object:
    """Return a cell that a spreadsheet does not read as a formula.

    A text that starts like one gets an apostrophe in front. Numbers and other values stay.

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
    r"""Return text that Matplotlib draws as it is.

    A dollar would begin a formula, and a leading underscore would keep a line out of the legend.

    >>> figure_text("$x$ and y"), figure_text("_mine")
    ('\\$x\\$ and y', ' _mine')
    """
    shown = visible(text, keep="\n").replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown
