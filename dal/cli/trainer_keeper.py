"""Starts the trainer of a page, also again after it died and after people changed labels."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from dal.cli.trainer_child import TrainerChild
from dal.errors import DalError
from dal.labeling.people.corrections import Labels, labels_of, num_changed
from dal.labeling.people.people_run import PeopleRun
from dal.runs.files.state import read_state
from dal.runs.journal import committed_rounds
from dal.runs.round import Round
from dal.runs.stopped import why_stopped

PAUSES = (5.0, 20.0)
"""Seconds before the next starts of a trainer that dies. A death after these ends the attempts."""
_QUIET_SECONDS = 10.0
_INVALID = 2


class TrainerKeeper:
    """Keeps the trainer of a run.

    A trainer that a signal or a crash ends is started again after a pause, which grows until a round is finished. A
    trainer that has ended is started again once labels have changed that its model saw.
    """

    def __init__(
        self,
        run: PeopleRun,
        start: Callable[[Path], TrainerChild] = TrainerChild,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run, self._start, self._clock = run, start, clock
        self._trainer = start(run.path)
        self._deaths, self._rounds = 0, len(self._rows())
        self._start_at: float | None = None
        self._has_told = False
        self._seq, self._quiet_since, self._is_compared = -1, 0.0, False
        self._seen: tuple[int, Labels] = (0, {})

    def look(self) -> list[str]:
        """Return what is new about the trainer, as lines. Call it often.

        Raises DalError if the settings of a run without a commit and answers are invalid.
        """
        if self._start_at is not None:
            return self._start_again() if self._clock() >= self._start_at else []
        status = self._trainer.status
        if status is None:
            return []
        if self._has_told:
            return self._look_for_changes() if status == 0 else []
        self._has_told = True
        if status == 0:
            self._deaths = 0
            rows = self._rows()
            reason = rows[-1].campaign_stopped if rows else None
            why = "" if reason is None else f", because {why_stopped(reason)}"
            return [f"Done{why}. The model is trained. To end the page, press Ctrl-C."]
        words = self._trainer.last_words()
        return self._refused(words) if status == _INVALID else self._died(words)

    def stop(self) -> None:
        """End the trainer."""
        self._trainer.stop()

    def _start_again(self) -> list[str]:
        self._trainer.stop()
        self._start_at, self._has_told, self._seq = None, False, -1
        try:
            self._trainer = self._start(self._run.path)
        except (OSError, DalError) as error:  # such as too little memory for a process
            self._has_told = True
            return self._died(str(error))
        return []

    def _refused(self, words: str) -> list[str]:
        if not self._run.is_committed and not self._run.answers.refresh().seq:
            self._run.discard_start()
            raise DalError(words.removesuffix(".") + ".")
        self._tell("stopped", words)
        return [f"The trainer has stopped: {words} Answers are still saved. See {self._trainer.log}."]

    def _died(self, words: str) -> list[str]:
        rounds = len(self._rows())
        self._deaths = 1 if rounds > self._rounds else self._deaths + 1
        self._rounds = rounds
        why = f"The trainer died: {words.removesuffix('.')}."
        if self._deaths <= len(PAUSES):
            pause = PAUSES[self._deaths - 1]
            self._start_at = self._clock() + pause
            why += f" It starts again in {pause:g} s."
            self._tell("restarting", why)
            return [f"{why} Answers are still saved."]
        why += f" It died {self._deaths} times without a finished round and stays off. Start dal label again to go on."
        self._tell("stopped", f"{why} See {self._trainer.log}.")
        lines = self._trainer.last_lines()
        return [f"{why} Answers are still saved. The end of {self._trainer.log}:", *(f"  {line}" for line in lines)]

    def _tell(self, phase: str, error: str) -> None:
        with suppress(DalError):  # a full disk must not end the page
            self._trainer.tell_phase(phase, error)

    def _look_for_changes(self) -> list[str]:
        """Start the trainer again if labels have changed that the last model saw, once people pause."""
        answers = self._run.answers
        with answers.mutex:
            fold = answers.refresh()
            if fold.seq != self._seq:
                self._seq, self._quiet_since, self._is_compared = fold.seq, self._clock(), False
            if self._is_compared or self._clock() - self._quiet_since < _QUIET_SECONDS:
                return []
            self._is_compared = True
            rows = self._rows()
            seq = int(rows[-1].get("answers_seq", 0)) if rows else 0
            if seq == fold.seq:
                return []
            if seq != self._seen[0]:
                self._seen = seq, labels_of(answers.read(seq))
            count = num_changed(self._seen[1], fold)
        if not count:
            return []
        labels = "1 label has" if count == 1 else f"{count:,} labels have"
        return [f"{labels} changed since the last training. The model trains again.", *self._start_again()]

    def _rows(self) -> list[Round]:
        """Return the finished rounds."""
        try:
            return committed_rounds(self._run.path, read_state(self._run.path))
        except DalError:  # before the first commit
            return []
