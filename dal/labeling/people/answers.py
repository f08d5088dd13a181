"""Answers: the journal of all answers, which several processes append to."""

from __future__ import annotations

import os
import warnings
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import RLock
from typing import IO

from filelock import FileLock

from dal.errors import DalError
from dal.labeling.people.bulk import apply_lines, apply_one_by_one
from dal.labeling.people.drafts import Draft, event_of_draft
from dal.labeling.people.events import ClassChange, Event, event_line, parse_event
from dal.labeling.people.fold import Fold
from dal.labeling.people.lines import BLOCK, end_of_lines, whole_lines
from dal.runs.files.atomic import append_text, truncate, write_text
from dal.runs.files.committed import check_inside, file_of
from dal.runs.layout import ANSWERS, ANSWERS_LOCK
from dal.runtime.refusals import RefusedBySystem, explained

_TAIL = 256
_POLL_SECONDS = 0.002


class Answers:
    """The answers in a run folder.

    ``classes`` are the names at the start of the run. Several processes can record answers at the same time, and
    several threads can share an object. A thread that reads the fold while others record holds ``mutex``.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     answers = Answers(folder, ["cat", "dog"])
    ...     event = answers.record({"kind": "label", "index": 7, "id": "7.jpg", "label": "dog", "annotator": "ana"})
    ...     event.seq, answers.fold.decision(7).label
    (1, 1)
    """

    def __init__(self, path: str | Path, classes: Sequence[str]) -> None:
        self.path = Path(path)
        self.classes = tuple(classes)
        self.mutex = RLock()
        self._lock = FileLock(self.path / ANSWERS_LOCK)
        self._start_over()

    @property
    def fold(self) -> Fold:
        """The state after the events that the last refresh(), record() or record_all() saw."""
        return self._fold

    def refresh(self) -> Fold:
        """Read new events, and return the fold.

        A last line that is not whole does not count. Raises DalError for a damaged line.
        """
        with self.mutex:
            if not os.path.lexists(self.path / ANSWERS):
                if self._size:
                    raise DalError(
                        f"answers: expected {ANSWERS} in {str(self.path)!r}, got no such file. Restore it, or choose "
                        "another folder."
                    )
                return self._fold
            with self._opened() as file:
                if not self._continues(file):
                    self._start_over()
                for block in whole_lines(file, self._size):
                    self._take(block)
            self._fold.settle()
            return self._fold

    def refresh_confirmed(self) -> Fold:
        """Read new events as refresh() does, after any write in progress.

        A write that fails is taken back, so only this fold has no event that can still disappear.
        """
        with self.mutex, explained(path=self.path / ANSWERS), self._locked():
            return self.refresh()

    def read(self, upto: int | None = None) -> Fold:
        """Return a new fold of the first ``upto`` events, by default of all.

        Raises DalError for a damaged line, and if there are fewer events.
        """
        if upto is not None:
            (fold,) = self.prefixes([upto])
            return fold
        fold = Fold(self.classes, self.event)
        for block in self._blocks():
            self._apply(fold, block)
        fold.settle()
        return fold

    def prefixes(self, upto: Iterable[int]) -> Iterator[Fold]:
        """Yield the fold of the first events for each of these numbers, which do not decrease.

        It is one fold that goes on, so that the journal is read once. Raises DalError as read() does.
        """
        fold, blocks, rest = Fold(self.classes, self.event), self._blocks(), b""
        for seq in upto:
            while fold.seq < seq:
                rest = rest or next(blocks, b"")
                if not rest:
                    raise DalError(
                        f"answers: expected {seq} events in {ANSWERS} of {str(self.path)!r}, got {fold.seq}."
                    )
                end = end_of_lines(rest, seq - fold.seq)
                self._apply(fold, rest[:end])
                rest = rest[end:]
            fold.settle()
            yield fold

    def _blocks(self) -> Iterator[bytes]:
        if os.path.lexists(self.path / ANSWERS):
            with self._opened() as file:
                yield from whole_lines(file, 0)

    def events(self, since: int = 0) -> Iterator[Event]:
        """Yield the events after ``since``, of those that the fold has."""
        place = bisect_right(self._marks, since + 1, key=lambda mark: mark[0]) - 1
        if since >= self._fold.seq:
            return
        seq, offset = self._marks[place]
        upto = self._fold.seq
        with self._opened() as file:
            for block in whole_lines(file, offset):
                for line in block.split(b"\n")[:-1]:
                    if seq > upto:
                        return
                    if seq > since:
                        yield self._parsed(line, seq)
                    seq += 1

    def event(self, seq: int) -> Event:
        """Return an event by its seq. Raises LookupError for a seq that does not exist."""
        found = next(self.events(seq - 1), None) if seq > 0 else None
        if found is None:
            raise LookupError(f"expected a seq from 1 to {self._fold.seq}, got {seq}")
        return found

    def record(self, draft: Draft) -> Event:
        """Append an event, and return it once it is on the disk.

        For an ``event`` id that the journal has, the earlier event returns and nothing is written. Raises DalError for
        a draft that is not valid, and RefusedBySystem if the journal cannot be written.
        """
        return self.record_all([draft])[0][0]

    def record_all(self, drafts: Sequence[Draft]) -> list[tuple[Event, bool]]:
        """Append events, all or none, and return each with whether it is new.

        Raises DalError as record() does, before anything is written.
        """
        with self.mutex, explained(path=self.path / ANSWERS), self._locked():
            self._refresh_to_write()
            found = self._checked(drafts)
            text = "".join(event_line(event) for event, is_new in found if is_new)
            if text:
                self._append(text)
            return found

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.path.stat()  # the lock would make a folder that is gone
        check_inside(self.path, ANSWERS_LOCK)  # and empty the file that a link leads to
        with self._lock.acquire(poll_interval=_POLL_SECONDS):
            yield

    def _checked(self, drafts: Sequence[Draft]) -> list[tuple[Event, bool]]:
        """Return the events of drafts, each with whether it is new."""
        fold, classes = self._fold, self._fold.classes
        found: list[tuple[Event, bool]] = []
        new: list[Event] = []
        batch: dict[str, Event] = {}

        def earlier(seq: int) -> Event:
            return new[seq - fold.seq - 1] if seq > fold.seq else self.event(seq)

        for draft in drafts:
            known = draft.get("event")
            if isinstance(known, str) and known in fold.events:
                found.append((self.event(fold.events[known]), False))
            elif isinstance(known, str) and known in batch:
                found.append((batch[known], False))
            else:
                event = event_of_draft(draft, fold.seq + len(new) + 1, classes, earlier)
                if isinstance(event, ClassChange):
                    classes = classes.copy()
                    classes.apply(event)
                new.append(event)
                batch[event.event] = event
                found.append((event, True))
        return found

    def _append(self, text: str) -> None:
        path, data = self.path / ANSWERS, text.encode("ascii")
        if not os.path.lexists(path):
            write_text(path, "")  # also flushes the entry of the folder
        try:
            append_text(path, text, at=self._size)
        except BaseException:
            with suppress(RefusedBySystem):
                truncate(path, self._size)
            raise
        self._take(data)
        self._fold.settle()

    def _refresh_to_write(self) -> None:
        """Read new events under the lock, and cut off a last line that a killed process left."""
        fold = self.refresh()
        try:
            _ = fold.events
        except ValueError as error:
            raise self._damaged(self._first_damaged()) from error
        path = self.path / ANSWERS
        if os.path.lexists(path) and path.stat().st_size > self._size:
            truncate(path, self._size)
            warnings.warn(
                f"answers: the last line of {ANSWERS} in {str(self.path)!r} was not whole and is removed. "
                "Its answer was never confirmed.",
                stacklevel=3,
            )

    def _start_over(self) -> None:
        self._fold = Fold(self.classes, self.event)
        self._size, self._tail = 0, b""
        self._marks = [(1, 0)]  # the seq and the offset of the first event of blocks

    def _opened(self) -> IO[bytes]:
        with explained(path=self.path / ANSWERS):
            return file_of(self.path, ANSWERS).open("rb")

    def _continues(self, file: IO[bytes]) -> bool:
        """Return whether the file begins with what was read. A failed write is taken back, so it may not."""
        file.seek(self._size - len(self._tail))
        return file.read(len(self._tail)) == self._tail

    def _take(self, block: bytes) -> None:
        first = self._fold.seq + 1
        try:
            self._apply(self._fold, block)
        except DalError:
            self._start_over()
            raise
        if self._size - self._marks[-1][1] >= BLOCK or len(block) >= BLOCK:
            self._marks.append((first, self._size))
        self._size += len(block)
        self._tail = (self._tail + block)[-_TAIL:]

    def _apply(self, fold: Fold, block: bytes) -> None:
        try:
            apply_lines(fold, block)
        except (ValueError, TypeError, RecursionError) as error:
            raise self._damaged(self._first_damaged()) from error

    def _first_damaged(self) -> int:
        """Return the number of the first damaged line."""
        fold = Fold(self.classes, self.event)
        with self._opened() as file:
            try:
                for block in whole_lines(file, 0):
                    apply_one_by_one(fold, block)
            except (ValueError, TypeError, RecursionError):
                pass
        return fold.seq + 1

    def _parsed(self, line: bytes, number: int) -> Event:
        try:
            return parse_event(line.decode())
        except (ValueError, TypeError, RecursionError) as error:
            raise self._damaged(number) from error

    def _damaged(self, number: int) -> DalError:
        return DalError(
            f"answers: line {number} of {ANSWERS} in {str(self.path)!r} is damaged. "
            "Restore it, or choose another folder."
        )
