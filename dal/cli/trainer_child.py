"""The trainer that runs beside the page, as a child process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

from dal.runs.files.atomic import write_text
from dal.runs.layout import TRAINER, TRAINER_LOG
from dal.runtime.python_command import python_command
from dal.runtime.refusals import explained

_PATIENCE_SECONDS = 20


class TrainerChild:
    """Starts the trainer of a run, and ends it with the page.

    Its output goes to ``trainer.log`` in the run folder.
    """

    def __init__(self, run: Path) -> None:
        self.run = run
        self.log = run / TRAINER_LOG
        with explained(path=self.log):
            self._output = self.log.open("ab")
        self._start_of_log = self._output.tell()
        command = [*python_command("dal.cli.label_trainer"), str(run)]
        # In a group of its own, so that Ctrl-C reaches only the page, which then ends the trainer in order.
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        self.tell_phase("starting")

    @property
    def status(self) -> int | None:
        """The exit status, or None while the trainer runs."""
        return self._process.poll()

    def tell_phase(self, phase: str, error: str | None = None) -> None:
        """Write what the page says about the trainer, before the trainer does so itself and after it has ended."""
        now = {"phase": phase, "round": None, "pid": self._process.pid, "error": error}
        write_text(self.run / TRAINER, json.dumps(now) + "\n")

    def last_words(self) -> str:
        """Return the error that the trainer ended with, the signal that killed it, or its last line of output."""
        if self.status is not None and self.status < 0:
            memory = ", as when the memory is full" if self.status == -signal.SIGKILL else ""
            return f"{signal.Signals(-self.status).name} ended it{memory}."
        lines = [line.strip() for line in self._lines()]
        errors = [line for line in lines if line.startswith("Error: ")]
        return (errors or lines or [f"exit status {self.status}"])[-1].removeprefix("Error: ")

    def last_lines(self, count: int = 5) -> list[str]:
        """Return the last lines of the output."""
        return self._lines()[-count:]

    def _lines(self) -> list[str]:
        with self.log.open("rb") as file:
            file.seek(self._start_of_log)
            return [line.rstrip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]

    def stop(self) -> None:
        """End the trainer, which resumes from its last commit at the next start."""
        if self.status is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(_PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._output.close()
