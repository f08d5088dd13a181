"""Numbers and lists in the sentences of findings."""

from __future__ import annotations

import math
from collections.abc import Sequence

MOST_NAMES = 8


def listed(names: Sequence[str], most: int = MOST_NAMES) -> str:
    """Return names as a list in words, and the number of those left out.

    >>> listed(["cat"]), listed(["cat", "dog", "truck"]), listed(["cat", "dog", "truck"], most=2)
    ('cat', 'cat, dog, and truck', 'cat, dog, and 1 more')
    """
    if len(names) > most:
        names = [*names[:most], f"{len(names) - most} more"]
    if len(names) < 3:
        return " and ".join(names)
    return f"{', '.join(names[:-1])}, and {names[-1]}"


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun.

    >>> counted(1, "round"), counted(3, "round"), counted(2, "class", "classes")
    ('1 round', '3 rounds', '2 classes')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def spans(numbers: Sequence[int]) -> str:
    """Return increasing numbers in words, with rows of three or more as a span.

    >>> spans([2, 3, 4, 6]), spans([0, 1])
    ('2 to 4 and 6', '0 and 1')
    """
    rows: list[list[int]] = []
    for number in numbers:
        if rows and number == rows[-1][-1] + 1:
            rows[-1].append(number)
        else:
            rows.append([number])
    words = [[f"{row[0]} to {row[-1]}"] if len(row) > 2 else [str(number) for number in row] for row in rows]
    return listed([word for row in words for word in row])


def percent(share: float, decimals: int = 1) -> str:
    """Return a share in percent.

    >>> percent(0.8), percent(0.0143), percent(1.0)
    ('80 %', '1.4 %', '100 %')
    """
    return f"{100 * share:.{decimals}f}".removesuffix("." + "0" * decimals) + " %"


def p_value(p: float) -> str:
    """Return ``p = ...`` with one digit that counts, without an exponent.

    >>> p_value(0.0000612), p_value(0.034), p_value(1e-12)
    ('p = 0.00006', 'p = 0.03', 'p < 0.000001')
    """
    if p < 1e-6:
        return "p < 0.000001"
    decimals = max(-math.floor(math.log10(p)), 2)
    return f"p = {p:.{decimals}f}"
