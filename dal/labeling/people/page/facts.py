"""What the page says about the model: read from the run folder, without PyTorch."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dal.errors import DalError
from dal.runs.files.state import is_count, is_number, read_state
from dal.runs.journal import committed_rounds
from dal.runs.layout import STATE

TRAINER = "trainer.json"


@dataclass(frozen=True)
class Facts:
    """The model at present. Values that are not known are None.

    ``rho`` is the number of labels that arrive while the model trains. ``answers_seq`` is the prefix of the journal
    that the last round saw. ``phase`` and ``error`` are those of the trainer. ``stopped`` is why the campaign ended.
    """

    accuracy: float | None = None
    num_test: int = 0
    rho: float | None = None
    answers_seq: int | None = None
    round: int | None = None
    phase: str | None = None
    error: str | None = None
    stopped: str | None = None
    miou: float | None = None


class RunFacts:
    """Reads the facts of a run folder again whenever its files change.

    Without ``has_trainer``, a phase is known only if another process trains.
    """

    def __init__(self, folder: Path, has_trainer: bool = True) -> None:
        self.folder = folder
        self._unknown = None if has_trainer else "stopped"
        self._seen: tuple[Any, Any] = ((), ())
        self._facts = Facts(phase=self._unknown)

    def __call__(self) -> Facts:
        seen = stamp(self.folder / STATE), stamp(self.folder / TRAINER)
        if seen[0] != self._seen[0]:
            self._facts = self._rounds()
        if seen[1] != self._seen[1]:
            self._facts = self._trainer()
        self._seen = seen
        return self._facts

    def _rounds(self) -> Facts:
        try:
            rows = committed_rounds(self.folder, read_state(self.folder))
        except DalError:
            return self._facts  # the trainer is writing at this moment
        if not rows:
            return self._facts
        row = rows[-1]
        rho, seq, tested = row.get("rho"), row.get("answers_seq"), row.get("num_test")
        accuracy, miou = row.get("test_accuracy"), row.get("test_miou")
        return replace(
            self._facts,
            accuracy=accuracy if is_number(accuracy) else None,
            miou=miou if is_number(miou) else None,
            num_test=int(tested) if tested is not None and is_count(tested) else 0,
            rho=rho if is_number(rho) else None,
            answers_seq=seq if is_count(seq) else None,
            round=row.get("round"),
            stopped=row.campaign_stopped,
        )

    def _trainer(self) -> Facts:
        try:
            found = json.loads((self.folder / TRAINER).read_text())
            phase, error = found.get("phase"), found.get("error")
        except (OSError, ValueError, AttributeError, RecursionError):
            return replace(self._facts, phase=self._unknown, error=None)
        return replace(
            self._facts,
            phase=phase if isinstance(phase, str) else None,
            error=error if isinstance(error, str) else None,
        )


def stamp(path: Path) -> tuple[int, ...]:
    """Return what differs after a file is written again, and () for one that does not exist."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_size, found.st_ino
