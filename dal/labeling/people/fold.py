"""Fold: the state of all answers, a pure function of the events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from dal.labeling.people.events import (
    ADD,
    ANSWERS,
    LABEL,
    MERGE,
    NONE,
    RENAME,
    RETIRE,
    SKIP,
    UNDO,
    UNREADABLE,
    UNSURE,
    Answer,
    ClassChange,
    Event,
)

OPEN = "open"
"""The status of a point that has no answer that decides."""


@dataclass(frozen=True)
class Said:
    """The answer of one person for one point that counts at present."""

    annotator: str
    kind: str
    label: int | None  # the number of the class, of a label
    seq: int


@dataclass(frozen=True)
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


class Classes:
    """The classes by number. A number never changes its meaning and is never used again.

    >>> classes = Classes(["cat", "dog"])
    >>> classes.apply(ClassChange(1, "a", "rename_class", "dog", "hound"))
    >>> classes.names, classes.number("hound")
    (['cat', 'hound'], 1)
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names: list[str] = list(names)
        """The present name of each number. A merged class keeps its last name."""
        self._into: dict[int, int] = {}
        self._retired: set[int] = set()

    @property
    def offered(self) -> list[str]:
        """The names that people can choose, in order."""
        return [name for number, name in enumerate(self.names) if self.is_offered(number)]

    def is_offered(self, number: int) -> bool:
        return number not in self._into and number not in self._retired

    def number(self, name: str) -> int | None:
        """Return the number of a class that can be chosen, or None."""
        for number, own in enumerate(self.names):
            if own == name and self.is_offered(number):
                return number
        return None

    def merged(self, number: int) -> int:
        """Return the class that now has the labels of a class."""
        while number in self._into:
            number = self._into[number]
        return number

    def refused(self, kind: str, name: str, to: str | None = None) -> str | None:
        """Return what is expected instead of a change, or None if the change is fine."""
        if kind == ADD:
            return None if self.number(name) is None else f"a name that no class has, got {name!r}"
        if self.number(name) is None:
            return f"one of {', '.join(self.offered)}, got {name!r}"
        if kind == RENAME and self.number(str(to)) is not None:
            return f"a new name that no class has, got {to!r} (merge_class joins two classes)"
        if kind == MERGE and self.number(str(to)) in (None, self.number(name)):
            return f"another of {', '.join(self.offered)} as the class to keep, got {to!r}"
        if kind in (MERGE, RETIRE) and len(self.offered) <= 2:
            return f"at least two classes to remain, got {kind} of {name!r} with {len(self.offered)}"
        return None

    def apply(self, change: ClassChange) -> None:
        """Apply a change that was not refused; ignore any other."""
        if self.refused(change.kind, change.name, change.to) is not None:
            return
        if change.kind == ADD:
            self.names.append(change.name)
            return
        number = self.number(change.name)
        assert number is not None
        if change.kind == RENAME:
            assert change.to is not None
            self.names[number] = change.to
        elif change.kind == MERGE:
            other = self.number(change.to or "")
            assert other is not None
            self._into[number] = other
        else:
            self._retired.add(number)


class Fold:
    """The state after the events so far.

    It depends only on the events and their order, never on where the journal was cut into batches.

    >>> fold = Fold(["cat", "dog"])
    >>> fold.apply(Answer(1, "a", "label", 7, "7.jpg", "dog"))
    >>> fold.decision(7).label, fold.bought, fold.seq
    (1, 1, 1)
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = Classes(classes)
        self.seq = 0
        self.events: dict[str, int] = {}
        """The seq of each event id."""
        self._answers: dict[int, Answer] = {}
        self._numbers: dict[int, int | None] = {}  # the class of a label, as it was numbered when it was given
        self._undone: set[int] = set()
        self._undoes: dict[int, int] = {}
        self._of_point: dict[int, dict[str, list[int]]] = {}

    @classmethod
    def of(cls, classes: Sequence[str], events: Iterable[Event]) -> Fold:
        """Return the state after these events."""
        fold = cls(classes)
        for event in events:
            fold.apply(event)
        return fold

    def apply(self, event: Event) -> None:
        """Apply the next event. Raises ValueError for a gap or an event whose class or target does not exist."""
        if event.seq != self.seq + 1:
            raise ValueError(f"expected event {self.seq + 1}, got {event.seq}")
        if isinstance(event, ClassChange):
            self.classes.apply(event)
        elif event.kind == UNDO:
            assert event.undoes is not None
            self._undoes[event.seq] = event.undoes
            self._flip(event.undoes)
        else:
            number = None if event.label is None else self.classes.number(event.label)
            if event.kind == LABEL and number is None:
                raise ValueError(f"expected one of {', '.join(self.classes.offered)}, got {event.label!r}")
            self._answers[event.seq] = event
            self._numbers[event.seq] = number
            self._of_point.setdefault(event.index, {}).setdefault(event.annotator, []).append(event.seq)
        self.seq = event.seq
        self.events[event.event] = event.seq

    def _flip(self, seq: int) -> None:
        """Take an answer back, or, for an undo, give back what it took."""
        if seq in self._undoes:
            self._flip(self._undoes[seq])
        else:
            self._undone ^= {seq}

    def said(self, index: int) -> list[Said]:
        """Return the present answer of each person for a point, in the order of the journal."""
        found = []
        for annotator, seqs in self._of_point.get(index, {}).items():
            seq = next((seq for seq in reversed(seqs) if seq not in self._undone), None)
            if seq is not None:
                kind, number = self._answers[seq].kind, self._numbers[seq]
                found.append(Said(annotator, kind, None if number is None else self.classes.merged(number), seq))
        return sorted(found, key=lambda said: said.seq)

    def decision(self, index: int) -> Decision:
        """Return what the answers for a point say together.

        The majority of the labels and ``none`` answers decides, and of equals the earliest. Without such an answer,
        ``unreadable`` decides before ``unsure``.
        """
        said = self.said(index)
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
        yield from self._of_point

    @property
    def bought(self) -> int:
        """Number of answers that are paid: the present label, none or unsure answer of each person and point."""
        return sum(one.kind in (LABEL, NONE, UNSURE) for index in self._of_point for one in self.said(index))

    def answer(self, seq: int) -> Answer | None:
        """Return an answer by its seq, or None for another event."""
        return self._answers.get(seq)

    def is_undone(self, seq: int) -> bool:
        """Return whether an answer is taken back."""
        return seq in self._undone

    def skipped_by(self, index: int) -> set[str]:
        """Return the people whose present answer for a point is ``skip``."""
        return {one.annotator for one in self.said(index) if one.kind == SKIP}


assert set(ANSWERS) == {LABEL, NONE, UNSURE, SKIP, UNREADABLE}
