"""The identity of data: digests, with the points that they summarize."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Points = dict[str, Any]
"""The class names, and for each split the ids, labels in words, and content digests in hexadecimal."""


class Fingerprint(str):
    """Digests of the data, separated by hyphens.

    ``points()`` returns the points, so that a run folder can name what has changed.

    >>> Fingerprint("1f-2b-3c", dict) == "1f-2b-3c"
    True
    """

    points: Callable[[], Points]

    def __new__(cls, digests: str, points: Callable[[], Points]) -> Fingerprint:
        made = super().__new__(cls, digests)
        made.points = points
        return made

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        # A copy in another process needs the digests only.
        return str, (str(self),)
