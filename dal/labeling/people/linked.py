"""Links and counts many answers at once."""

from __future__ import annotations

from array import array

import numpy as np


def linked(
    kinds: bytearray, undone: bytearray, indices: array[int], annotators: array[int]
) -> tuple[array[int], dict[int, int], int, int]:
    """Return the links between the answers for a point, and the counts.

    These are, for each row, the row of the answer before it for the same point or 0; the last row of each point; the
    number of paid answers; and the number of replaced answers. Kinds from 0 to 4 are answers, and those from 0 to 2 are
    paid.
    """
    kind, points = np.frombuffer(kinds, dtype=np.uint8), np.frombuffer(indices, dtype=np.int64)
    people = np.frombuffer(annotators, dtype=np.int64)
    answers = np.flatnonzero(kind <= 4)
    rows = answers[np.argsort(points[answers], kind="stable")]
    is_last = np.append(points[rows[1:]] != points[rows[:-1]], True)[: len(rows)]
    before = np.zeros(len(kind), dtype=np.int64)
    before[rows[1:][~is_last[:-1]]] = rows[:-1][~is_last[:-1]]
    ends = rows[is_last]
    live = answers[np.frombuffer(undone, dtype=np.uint8)[answers] == 0]
    live = live[np.lexsort((people[live], points[live]))]
    one, other = live[:-1], live[1:]
    present = live[np.append((points[one] != points[other]) | (people[one] != people[other]), True)[: len(live)]]
    links = array("q")
    links.frombytes(before.tobytes())
    last = dict(zip(points[ends].tolist(), ends.tolist(), strict=True))
    return links, last, int((kind[present] <= 2).sum()), len(live) - len(present)
