"""Counts of the answers: by kind and person, their seconds, and progress."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from dal.labeling.people.events import ANSWERS, LABEL
from dal.labeling.people.fold import Fold
from dal.labeling.people.rows import CODE, KINDS
from dal.labeling.people.wanted import needs
from dal.runs.asked import AskedLine

_UNDO = CODE["undo"]


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of a person's answers of one kind, for labels of one class. ``seconds`` is the median."""

    annotator: str
    kind: str
    label: int | None
    answers: int
    seconds: float | None
    total: float


@dataclass(frozen=True, slots=True)
class Recent:
    """An answer of a person, with whether it is taken back, and whether it counts at present."""

    seq: int
    index: int
    kind: str
    label: int | None
    is_undone: bool
    is_present: bool


def answers_by_kind(fold: Fold) -> dict[str, int]:
    """Return the number of present answers of each kind.

    An answer that is taken back or replaced does not count.
    """
    found = Counter(one.kind for index in fold.points() for one in fold.said(index))
    return {kind: found[kind] for kind in ANSWERS}


def timings(fold: Fold, since: int = 0) -> list[Timing]:
    """Return the seconds by person, kind and class, of all answers after event ``since``.

    Answers that are taken back or replaced took time too, and count.
    """
    times: dict[tuple[str, str, int | None], list[float]] = {}
    for seq in range(since + 1, fold.seq + 1):
        if fold.kinds[seq] < _UNDO:
            kind = KINDS[fold.kinds[seq]]
            label = fold.classes.merged(fold.labels[seq]) if kind == LABEL else None
            times.setdefault((fold.people[fold.annotators[seq]], kind, label), []).append(fold.seconds[seq])
    return [_timing(key, seconds) for key, seconds in times.items()]


def total_seconds(fold: Fold, since: int = 0, upto: int | None = None) -> float:
    """Return the seconds of all answers after ``since``, with those that are taken back or replaced."""
    return math.fsum(s for s in fold.seconds[since + 1 : None if upto is None else upto + 1] if not math.isnan(s))


def last_answers(fold: Fold, annotator: str, count: int) -> list[Recent]:
    """Return the last answers of a person, the last first."""
    found: list[Recent] = []
    for seq in fold.answers_of(annotator):
        if len(found) == count:
            break
        kind = fold.kind(seq)
        label = fold.classes.merged(fold.labels[seq]) if kind == LABEL else None
        found.append(Recent(seq, fold.indices[seq], kind, label, fold.is_undone(seq), fold.is_present(seq)))
    return found


def to_undo(fold: Fold, annotator: str) -> int | None:
    """Return the seq of a person's last answer that is not taken back, or None."""
    return next((seq for seq in fold.answers_of(annotator) if not fold.is_undone(seq)), None)


def progress(asked: Sequence[AskedLine], fold: Fold, overlap: int = 1) -> dict[str, tuple[int, int]]:
    """Return the number of points that need no more answers and of all points, for each kind of asked.csv."""
    points = {(line.kind, line.index) for line in asked}
    done = Counter(kind for kind, index in points if not needs(fold, index, overlap))
    return {kind: (done[kind], count) for kind, count in Counter(kind for kind, _ in points).items()}


def _timing(key: tuple[str, str, int | None], seconds: Sequence[float]) -> Timing:
    known = [one for one in seconds if not math.isnan(one)]
    return Timing(*key, len(seconds), median(known) if known else None, math.fsum(known))
