"""Rows: what a fold keeps of each event, and which answers count at present."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable

from dal.labeling.people.events import ANSWERS, LABEL, NONE, UNDO, UNSURE

KINDS = (*ANSWERS, UNDO, "class")
"""Kinds by the code that a fold keeps. All changes of classes have the last one."""
CODE = {kind: code for code, kind in enumerate(KINDS)}
"""The code of each kind."""
_PAID = frozenset(CODE[kind] for kind in (LABEL, NONE, UNSURE))
_CLASS = CODE["class"]


class Rows:
    """A row for each event, by its seq. Row 0 stands for no event.

    The rows of a point are linked, the last first, and so are those of a person. A row takes a few numbers, so that a
    million events fit in memory.
    """

    def __init__(self) -> None:
        self.people: list[str] = []
        """The people in the order of their first event."""
        self.bought = 0
        """Number of answers that are paid: the present label, none or unsure answer of each person and point."""
        self.corrected = 0
        """Number of answers that a later one of the same person for the same point replaces."""
        self._person: dict[str, int] = {}
        self.kinds, self.undone = bytearray([_CLASS]), bytearray(1)
        self.indices, self.labels, self.annotators = array("q", [-1]), array("q", [-1]), array("q", [-1])
        self.seconds = array("d", [math.nan])
        self._before, self._before_of_person = array("q", [0]), array("q", [0])  # the answer before
        self._last: dict[int, int] = {}  # by point
        self._last_of_person: list[int] = []
        self._takes_back: dict[int, int] = {}  # the answer that an undo event takes or gives back
        self._last_undo: dict[int, int] = {}  # by answer

    @property
    def seq(self) -> int:
        """The seq of the last event."""
        return len(self.kinds) - 1

    def add_row(self, kind: int, index: int, label: int, annotator: str, seconds: float) -> None:
        """Add the row of the next event."""
        self.add_rows(bytes([kind]), [index], [label], [self.person_number(annotator)], [seconds])

    def add_rows(
        self,
        kinds: bytes,
        indices: Iterable[int],
        labels: Iterable[int],
        annotators: Iterable[int],
        seconds: Iterable[float],
    ) -> None:
        """Add the rows of the next events, which link() and take_back() then apply."""
        self.kinds += kinds
        self.indices.extend(indices)
        self.labels.extend(labels)
        self.annotators.extend(annotators)
        self.seconds.extend(seconds)
        none = bytes(len(kinds))
        self.undone += none
        self._before.frombytes(none * self._before.itemsize)
        self._before_of_person.frombytes(none * self._before.itemsize)

    def person_number(self, annotator: str) -> int:
        """Return the number of a person, also of a new one."""
        number = self._person.get(annotator)
        if number is None:
            number = self._person[annotator] = len(self.people)
            self.people.append(annotator)
            self._last_of_person.append(0)
        return number

    def link(self, first: int, stop: int) -> None:
        """Link the answers of the rows from ``first`` to ``stop`` to those before them, and count them."""
        kinds, indices, annotators = self.kinds, self.indices, self.annotators
        last, last_of_person = self._last, self._last_of_person
        bought = 0
        for seq in range(first, stop):
            index, person = indices[seq], annotators[seq]
            before = last.get(index, 0)
            if before:
                self._before[seq] = before
                own = self._present(before, person)
                if own:
                    self.corrected += 1
                    bought -= kinds[own] in _PAID
            last[index] = seq
            self._before_of_person[seq] = last_of_person[person]
            last_of_person[person] = seq
            bought += kinds[seq] in _PAID
        self.bought += bought

    def take_back(self, seq: int, target: int) -> None:
        """Apply an undo: take an answer back, or, for the last undo of an answer, give it back.

        An undo of what is taken back already changes nothing.
        """
        self.check_target(seq, target)
        answer = self._takes_back.get(target, target)
        self._takes_back[seq] = answer
        if self.is_taken_back(target):
            return
        self._last_undo[answer] = seq
        index, person = self.indices[answer], self.annotators[answer]
        paid_before = self.kinds[self._present(self._last[index], person)] in _PAID
        self.corrected -= self._replaced(index, person)
        self.undone[answer] ^= 1
        self.corrected += self._replaced(index, person)
        self.bought += (self.kinds[self._present(self._last[index], person)] in _PAID) - paid_before

    def check_target(self, seq: int, target: int) -> None:
        if not 0 < target < seq or self.kinds[target] == _CLASS:
            raise ValueError(f"expected an answer or an undo to take back, got event {target}")

    def is_taken_back(self, seq: int) -> bool:
        """Return whether an answer or an undo does not count at present."""
        answer = self._takes_back.get(seq, seq)
        return bool(self.undone[seq]) if answer == seq else self._last_undo.get(answer) != seq

    def _present(self, seq: int, person: int) -> int:
        """Return a person's present answer among this one and those before it for the same point, or 0."""
        while seq and (self.annotators[seq] != person or self.undone[seq]):
            seq = self._before[seq]
        return seq

    def _present_of_all(self, index: int) -> list[int]:
        seq = self._last.get(index, 0)
        found: dict[int, int] = {}
        while seq:
            if not self.undone[seq]:
                found.setdefault(self.annotators[seq], seq)
            seq = self._before[seq]
        return [*found.values()][::-1]

    def _replaced(self, index: int, person: int) -> int:
        seq, count = self._last[index], 0
        while seq:
            count += self.annotators[seq] == person and not self.undone[seq]
            seq = self._before[seq]
        return max(0, count - 1)
