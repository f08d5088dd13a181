"""Leases: who labels which point at present. The caller supplies the time."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence

from dal.labeling.people.events import is_annotator, is_count
from dal.labeling.people.fold import Fold
from dal.runs.asked import AskedLine


class Leases:
    """Gives each point to ``overlap`` people at most, for ``seconds`` at a time.

    ``now`` is the time in seconds since the epoch, so that leases survive a restart.

    >>> leases, fold = Leases(60, overlap=1), Fold(["cat", "dog"])
    >>> lines = [AskedLine(0, 0, 0, 7, "7.jpg"), AskedLine(1, 0, 1, 8, "8.jpg")]
    >>> [line.index for person in ("ana", "bo") for line in leases.take(person, 1, lines, fold, now=0.0)]
    [7, 8]
    """

    def __init__(self, seconds: float, overlap: int = 1) -> None:
        self.seconds, self.overlap = seconds, overlap
        self._until: dict[int, dict[str, float]] = {}
        self._changes: list[str] = []

    def take(self, person: str, count: int, wanted: Sequence[AskedLine], fold: Fold, now: float) -> list[AskedLine]:
        """Lease up to ``count`` points, the best first. Points that the person already holds come first.

        A point that the person skipped comes last, and one that the person answered does not come again.
        """
        held = [
            one for one in wanted if self._holds(person, one.index, now) and self._is_free(person, one.index, fold, now)
        ]
        taken, skipped = held[:count], []
        for line in wanted if len(taken) < count else ():
            if self._holds(person, line.index, now) or not self._is_free(person, line.index, fold, now):
                continue
            if fold.skipped_at(line.index, person) is None:
                taken.append(line)
            else:
                skipped.append(line)
            if len(taken) == count:
                break
        skipped.sort(key=lambda line: fold.skipped_at(line.index, person) or 0)
        taken += skipped[: count - len(taken)]
        for line in taken:
            self._set(person, line.index, now + self.seconds)
        return taken

    def keep(self, person: str, index: int, fold: Fold, now: float) -> None:
        """Lease a point that a person is about to answer again, unless enough others have it or have answered it.

        The point can be one that nobody is asked for at present.
        """
        if self._has_room(person, index, fold.settled_by(index), now):
            self._set(person, index, now + self.seconds)

    def release(self, person: str, index: int | None = None) -> None:
        """Give a point back, or all points of a person."""
        indices = [index] if index is not None else [i for i, until in self._until.items() if person in until]
        for one in indices:
            if person in self._until.get(one, {}):
                self._set(person, one, 0.0)

    def holds(self, person: str, now: float) -> list[int]:
        """Return the points that a person holds."""
        return [index for index in self._until if self._holds(person, index, now)]

    def held(self, indices: Iterable[int], now: float) -> int:
        """Return how many answers for these points are in somebody's hands."""
        return sum(end > now for index in indices for end in self._until.get(index, {}).values())

    def lines(self) -> str:
        """Return the changes since the last call, as lines for the file of leases."""
        text, self._changes = "".join(self._changes), []
        return text

    def restore(self, text: str, now: float) -> None:
        """Apply the lines of an earlier process. Lines that are not whole do not count."""
        for line in text.splitlines():
            try:
                index, person, until = json.loads(line)
            except (ValueError, TypeError, RecursionError):
                continue
            is_time = isinstance(until, int | float) and math.isfinite(until)
            if is_count(index) and is_annotator(person) and is_time:
                # A clock that was set back must not keep a point for longer than a lease.
                self._put(person, index, min(float(until), now + self.seconds))
        for index in list(self._until):
            self._forget_expired(index, now)

    def _is_free(self, person: str, index: int, fold: Fold, now: float) -> bool:
        settled = fold.settled_by(index)
        return person not in settled and self._has_room(person, index, settled, now)

    def _has_room(self, person: str, index: int, settled: set[str], now: float) -> bool:
        self._forget_expired(index, now)
        others = {*self._until.get(index, ()), *settled} - {person}
        return len(others) < self.overlap

    def _holds(self, person: str, index: int, now: float) -> bool:
        return self._until.get(index, {}).get(person, 0.0) > now

    def _forget_expired(self, index: int, now: float) -> None:
        until = self._until.get(index, {})
        for person in [person for person, end in until.items() if end <= now]:
            self._put(person, index, 0.0)

    def _set(self, person: str, index: int, until: float) -> None:
        self._put(person, index, until)
        self._changes.append(json.dumps([index, person, until], separators=(",", ":")) + "\n")

    def _put(self, person: str, index: int, until: float) -> None:
        if until:
            self._until.setdefault(index, {})[person] = until
        else:
            self._until.get(index, {}).pop(person, None)
            if not self._until.get(index, True):
                del self._until[index]
