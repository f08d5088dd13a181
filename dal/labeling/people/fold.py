"""Fold: the state of all answers, a pure function of the events."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from dal.labeling.people.classes import Classes
from dal.labeling.people.events import (
    DAL,
    LABEL,
    NONE,
    SKIP,
    UNDO,
    UNREADABLE,
    UNSURE,
    Answer,
    ClassChange,
    Event,
)
from dal.labeling.people.rows import CODE, KINDS, Rows

__all__ = ["OPEN", "Classes", "Decision", "Fold", "Said"]

OPEN = "open"
"""The status of a point that has no answer that decides."""

_LABEL, _NONE, _SKIP, _UNREADABLE, _UNDO = (CODE[kind] for kind in (LABEL, NONE, SKIP, UNREADABLE, UNDO))


@dataclass(frozen=True, slots=True)
class Said:
    """The answer of one person for one point that counts at present."""

    annotator: str
    kind: str
    label: int | None  # the number of the class, of a label
    seq: int


@dataclass(frozen=True, slots=True)
class Decision:
    """What the answers for a point say together.

    ``status`` is ``label``, ``none``, ``unsure``, ``unreadable`` or ``open``. ``label`` is the number of the class.
    ``agreement`` is the share of the labels and ``none`` answers that agree with the decision.
    """

    status: str
    label: int | None = None
    agreement: float = 1.0
    said: tuple[Said, ...] = ()


_OPEN = Decision(OPEN)


class Fold(Rows):
    """The state after the events so far.

    It depends only on the events and their order, never on where the journal was cut into batches. ``find`` returns an
    event by its seq, so that the fold does not keep the events.

    >>> fold = Fold(["cat", "dog"])
    >>> fold.apply(Answer(1, "a", "label", 7, "7.jpg", "dog"))
    >>> fold.decision(7).label, fold.bought, fold.seq
    (1, 1, 1)
    """

    def __init__(self, classes: Sequence[str], find: Callable[[int], Event] | None = None) -> None:
        super().__init__()
        self.classes = Classes(classes)
        self._ids: dict[str, int] = {}
        self._new_ids: list[tuple[int, Sequence[str]]] = []  # not in the dict yet, with the seq of the first
        self._num_ids = 0
        self._find = find
        self._kept: list[Event] = []

    @classmethod
    def of(cls, classes: Sequence[str], events: Iterable[Event]) -> Fold:
        """Return the state after these events."""
        fold = cls(classes)
        for event in events:
            fold.apply(event)
        return fold

    def apply(self, event: Event) -> None:
        """Apply the next event.

        Raises ValueError, and changes nothing, for a gap, a repeated id, and a class or a target that does not exist.
        """
        if event.event in self.events:
            raise ValueError(f"expected a new event id, got {event.event!r}")
        self.add(event)
        self.settle()

    def add(self, event: Event) -> None:
        """Add the next event, up to a call of settle()."""
        seq = self.seq + 1
        if event.seq != seq:
            raise ValueError(f"expected event {seq}, got {event.seq}")
        if isinstance(event, ClassChange):
            self.classes.apply(event)
            self.add_row(CODE["class"], -1, -1, event.annotator, math.nan)
        else:
            number = None if event.label is None else self.classes.resolved(event.label)
            if event.label is not None and number is None:
                raise ValueError(f"expected one of {', '.join(self.classes.offered)}, got {event.label!r}")
            if event.undoes is not None:
                self.check_target(seq, event.undoes)
            seconds = math.nan if event.seconds is None else float(event.seconds)
            self.add_row(CODE[event.kind], event.index, -1 if number is None else number, event.annotator, seconds)
            if event.undoes is not None:
                self.add_target(seq, event.undoes)
        self.add_ids((event.event,))
        if self._find is None:
            self._kept.append(event)

    def add_ids(self, ids: Sequence[str]) -> None:
        """Add the ids of the last events."""
        self._new_ids.append((self._num_ids + 1, ids))
        self._num_ids += len(ids)

    @property
    def events(self) -> Mapping[str, int]:
        """The seq of each event id. Raises ValueError for an id that two events have."""
        for first, ids in self._new_ids:
            self._ids.update(zip(ids, range(first, first + len(ids)), strict=True))
        self._new_ids.clear()
        if len(self._ids) != self._num_ids:
            raise ValueError("expected different event ids")
        return self._ids

    def said(self, index: int) -> list[Said]:
        """Return the present answer of each person for a point, in the order of the journal."""
        found = []
        for seq in self._present_of_all(index):
            label = self.classes.merged(self.labels[seq]) if self.kinds[seq] == _LABEL else None
            found.append(Said(self.people[self.annotators[seq]], KINDS[self.kinds[seq]], label, seq))
        return found

    def decision(self, index: int) -> Decision:
        """Return what the answers for a point say together.

        The majority of the labels and ``none`` answers decides, and of equals the earliest. Without such an answer,
        ``unreadable`` decides before ``unsure``. An ``unreadable`` of dal itself decides before all, because nothing
        can be trained on an image that is gone.
        """
        said = self.said(index)
        if any(one.annotator == DAL and one.kind == UNREADABLE for one in said):
            return Decision(UNREADABLE, said=tuple(said))
        votes: dict[tuple[str, int | None], int] = {}
        for one in said:
            if one.kind in (LABEL, NONE):
                votes[one.kind, one.label] = votes.get((one.kind, one.label), 0) + 1
        if votes:
            (status, label), most = max(votes.items(), key=lambda item: item[1])
            return Decision(status, label, most / sum(votes.values()), tuple(said))
        for status in (UNREADABLE, UNSURE):
            if any(one.kind == status for one in said):
                return Decision(status, said=tuple(said))
        return Decision(OPEN, said=tuple(said)) if said else _OPEN

    def points(self) -> Iterator[int]:
        """Yield the points that have ever had an answer, in the order of their first one."""
        yield from dict.fromkeys(index for index, kind in zip(self.indices, self.kinds, strict=True) if kind < _UNDO)

    def event(self, seq: int) -> Event:
        """Return an event by its seq. Raises LookupError for a seq that does not exist."""
        if not 0 < seq <= self.seq:
            raise LookupError(f"expected a seq from 1 to {self.seq}, got {seq}")
        return self._kept[seq - 1] if self._find is None else self._find(seq)

    def answer(self, seq: int) -> Answer | None:
        """Return an answer by its seq, or None for another event."""
        event = self.event(seq) if 0 < seq <= self.seq and self.kinds[seq] < _UNDO else None
        return event if isinstance(event, Answer) else None

    def is_undone(self, seq: int) -> bool:
        """Return whether an answer is taken back."""
        return bool(self.undone[seq])

    def kind(self, seq: int) -> str:
        """Return the kind of an event, or ``class`` for a change of the classes."""
        return KINDS[self.kinds[seq]]

    def settled_by(self, index: int) -> set[str]:
        """Return the people whose present answer for a point is any but ``skip``."""
        found = self._present_of_all(index) if index in self._last else ()
        return {self.people[self.annotators[seq]] for seq in found if self.kinds[seq] != _SKIP}

    def is_unreadable(self, index: int) -> bool:
        """Return whether somebody's present answer for a point is ``unreadable``."""
        return index in self._last and any(self.kinds[s] == _UNREADABLE for s in self._present_of_all(index))

    def skipped_at(self, index: int, annotator: str) -> int | None:
        """Return the seq of a person's answer for a point if it is ``skip``, or None."""
        seq = self._present(self._last.get(index, 0), self._person.get(annotator, -1))
        return seq if seq and self.kinds[seq] == _SKIP else None

    def skipped_by(self, index: int) -> set[str]:
        """Return the people whose present answer for a point is ``skip``."""
        return {one.annotator for one in self.said(index) if one.kind == SKIP}

    def answers_of(self, annotator: str) -> Iterator[int]:
        """Yield the seqs of a person's answers, the last first, with those that are taken back or replaced."""
        number = self._person.get(annotator)
        for seq in range(self.seq, 0, -1):
            if self.annotators[seq] == number and self.kinds[seq] < _UNDO:
                yield seq

    def is_present(self, seq: int) -> bool:
        """Return whether an answer counts: not taken back, and the person's last one for the point."""
        return self._present(self._last.get(self.indices[seq], 0), self.annotators[seq]) == seq
