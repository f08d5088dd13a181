"""Rows: what a fold keeps of each event, and which answers count at present."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable

from dal.labeling.people.events import ANSWERS, LABEL, NONE, UNDO, UNSURE
from dal.labeling.people.linked import linked

KINDS = (*ANSWERS, UNDO, "class")
"""Kinds by the code that a fold keeps. All changes of classes have the last one."""
CODE = {kind: code for code, kind in enumerate(KINDS)}
"""The code of each kind."""
_PAID = frozenset(CODE[kind] for kind in (LABEL, NONE, UNSURE))
_CLASS = CODE["class"]


class Rows:
    """A row for each event, by its seq. Row 0 stands for no event.

    The rows of a point are linked, the last first. A row takes a few numbers, so that a million events fit in memory.
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
        self._before = array("q", [0])  # the answer before for the same point
        self._last: dict[int, int] = {}  # by point
        self.targets: dict[int, int] = {}
        """The seq that each undo takes back."""
        self._settled = 1
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
        """Add the rows of the next events, which settle() then applies."""
        self.kinds += kinds
        self.indices.extend(indices)
        self.labels.extend(labels)
        self.annotators.extend(annotators)
        self.seconds.extend(seconds)
        none = bytes(len(kinds))
        self.undone += none
        self._before.frombytes(none * self._before.itemsize)

    def add_target(self, seq: int, target: int) -> None:
        """Add the target of an undo. Raises ValueError for one that it cannot have."""
        self.check_target(seq, target)
        self.targets[seq] = target
        self.indices[seq] = self.indices[target]

    def person_number(self, annotator: str) -> int:
        """Return the number of a person, also of a new one."""
        number = self._person.get(annotator)
        if number is None:
            number = self._person[annotator] = len(self.people)
            self.people.append(annotator)
        return number

    def check_target(self, seq: int, target: int) -> None:
        """Raise ValueError if an undo event cannot have this target."""
        if not 0 < target < seq or self.kinds[target] == _CLASS:
            raise ValueError(f"expected an answer or an undo to take back, got event {target}")

    def settle(self, many: int = 20_000) -> None:
        """Link and count the rows since the last call. From ``many`` rows on, NumPy does so for all rows at once."""
        first, self._settled = self._settled, len(self.kinds)
        if self._settled - first >= many:
            for seq in self._undos_from(first):
                self._take_back(seq, self.targets[seq])
            self._before, self._last, self.bought, self.corrected = linked(
                self.kinds, self.undone, self.indices, self.annotators
            )
            return
        for seq in range(first, self._settled):
            if self.kinds[seq] < CODE[UNDO]:
                self._link(seq)
            elif self.kinds[seq] == CODE[UNDO]:
                self._undo(seq)

    def _undos_from(self, first: int) -> list[int]:
        return [seq for seq in self.targets if seq >= first]

    def _link(self, seq: int) -> None:
        """Link an answer to the one before it for the same point, and count it."""
        index = self.indices[seq]
        before = self._before[seq] = self._last.get(index, 0)
        own = self._present(before, self.annotators[seq])
        self.corrected += own > 0
        self.bought += (self.kinds[seq] in _PAID) - (self.kinds[own] in _PAID)
        self._last[index] = seq

    def _undo(self, seq: int) -> None:
        """Apply an undo, and count what it changes."""
        index, person = self.indices[seq], self.annotators[self._answer_of(self.targets[seq])]
        answers, paid = self._live(index, person)
        self._take_back(seq, self.targets[seq])
        now, now_paid = self._live(index, person)
        self.corrected += max(0, now - 1) - max(0, answers - 1)
        self.bought += now_paid - paid

    def _take_back(self, seq: int, target: int) -> None:
        """Take an answer back, or, for the last undo of an answer, give it back.

        An undo of what is taken back already changes nothing.
        """
        answer = self._answer_of(target)
        self._takes_back[seq] = answer
        if not self.is_taken_back(target):
            self._last_undo[answer] = seq
            self.undone[answer] ^= 1

    def _answer_of(self, seq: int) -> int:
        return self._takes_back.get(seq, seq)

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

    def _live(self, index: int, person: int) -> tuple[int, bool]:
        """Return how many answers of a person are not taken back, and whether the last of them is paid."""
        seq = present = self._present(self._last[index], person)
        count = 0
        while seq:
            count += self.annotators[seq] == person and not self.undone[seq]
            seq = self._before[seq]
        return count, self.kinds[present] in _PAID
