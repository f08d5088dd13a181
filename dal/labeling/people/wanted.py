"""The points that still need an answer."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from dal.labeling.people.events import LABEL, NONE
from dal.labeling.people.fold import Fold
from dal.runs.asked import KINDS, QUERY, AskedLine

_ORDER = {kind: place for place, kind in enumerate(KINDS)}


def wanted(asked: Sequence[AskedLine], fold: Fold, overlap: int = 1) -> list[AskedLine]:
    """Return the lines that still need an answer, best first.

    These are the lines of the test set, the validation set and the initial set, and those of the last query. A point
    needs the answers of ``overlap`` people. A skipped point still needs one, and an unreadable point none.

    >>> lines = [AskedLine(0, 0, 0, 4, "4.jpg", kind="initial"), AskedLine(1, 0, 0, 9, "9.jpg", kind="test")]
    >>> [line.index for line in wanted(lines, Fold(["cat", "dog"]))]
    [9, 4]
    """
    last = max((line.round for line in asked if line.kind == QUERY), default=0)
    found: dict[int, AskedLine] = {}
    for line in sorted(asked, key=lambda line: _ORDER[line.kind]):
        if (line.kind != QUERY or line.round == last) and line.index not in found and needs(fold, line.index, overlap):
            found[line.index] = line
    return list(found.values())


def needs(fold: Fold, index: int, overlap: int = 1) -> int:
    """Return how many more people must answer for a point."""
    settled = fold.settled_by(index)
    return 0 if fold.is_unreadable(index) else max(0, overlap - len(settled))


def behind(fold: Fold, seq: int, upto: int | None = None, held_out: Collection[int] = ()) -> int:
    """Return the number of labels after event ``seq``, up to ``upto``, for points that are not held out.

    These are the ``label`` and ``none`` answers, also those that are taken back or replaced since then.
    """
    stop = fold.seq if upto is None else upto
    return sum(
        fold.kind(one) in (LABEL, NONE) and fold.indices[one] not in held_out for one in range(seq + 1, stop + 1)
    )
