"""Starts cells as processes, and reads how they ended."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

CELL_MODULE = "dal.cli.cell_process"
"""The program of a cell."""
GRACE_SECONDS = 30.0
FORKED_FROM_NOTHING = 255
"""What multiprocessing has for the status of a process whose fork server has ended."""
_END = "[dal] exit status "


def cell_command(overrides: Sequence[str]) -> list[str]:
    """The process of one cell."""
    return [sys.executable, "-m", CELL_MODULE, "run", *overrides]


class CellProcess(Protocol):
    """A process whose output goes to a log, and which takes the end of its standard input for a Ctrl-C."""

    def poll(self) -> int | None:
        """The exit status, a signal as a negative number; None while it is at work."""

    def end_input(self) -> None:
        """End its standard input, whether it still runs or not."""

    def stop(self, grace_seconds: float = GRACE_SECONDS) -> None:
        """End its input, and where that does not help, the process at once. Returns when it has ended."""


class Spawned:
    """A command as a process of its own, whose log is made anew."""

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            # A session of its own: a Ctrl-C in the terminal comes here alone, and is passed on once.
            self.process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(os.environ if environment is None else environment),
                start_new_session=True,
            )

    def poll(self) -> int | None:
        return self.process.poll()

    def end_input(self) -> None:
        if self.process.stdin is not None:
            self.process.stdin.close()

    def stop(self, grace_seconds: float = GRACE_SECONDS) -> None:
        self.end_input()
        try:
            self.process.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def run_to_the_end(command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> int:
    """Run a command and write its exit status below its output. Whatever ends this function ends the command."""
    spawned = Spawned(command, log, environment)
    try:
        status = spawned.process.wait()
    except BaseException:
        spawned.stop()
        raise
    note_end(log, status)
    return status


def note_end(log: Path, status: int) -> None:
    """Write an exit status below the output that a process left."""
    with log.open("a", encoding="utf-8") as file:
        file.write(f"\n{_END}{status}\n")


def how_it_ended(log: Path) -> str:
    """Why a cell failed, in one line: the error that it printed, or the signal that killed it.

    >>> how_it_ended(Path("nowhere.log"))
    'it was never started'
    """
    if not log.is_file():
        return "it was never started"
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    status = None
    if lines and (found := re.fullmatch(re.escape(_END) + r"(-?\d+)", lines[-1])):
        status = int(found[1])
        lines.pop()
    if status is None:
        return "it was cut off together with what had started it"
    if status < 0:
        name = signal.Signals(-status).name
        return f"killed by {name}" + (", perhaps for want of memory" if name == "SIGKILL" else "")
    if status == FORKED_FROM_NOTHING:
        return "what it was forked from was killed"
    errors = [line.removeprefix("Error: ") for line in lines if line.startswith("Error: ")]
    return (errors or lines or ["no output"])[-1] + ("" if status in (1, 2) else f" (exit status {status})")
