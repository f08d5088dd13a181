"""Starts cells as processes, and explains their exit status."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from dal.runtime.python_command import python_command

CELL_MODULE = "dal.cli.cell_process"
"""The module that runs a cell."""
GRACE_SECONDS = 30.0
FORKED_FROM_NOTHING = 255
"""The exit status that multiprocessing reports if the fork server has ended."""
_END = "[dal] exit status "


def cell_command(overrides: Sequence[str]) -> list[str]:
    """Return the command of one cell."""
    return [*python_command(CELL_MODULE), "run", *overrides]


class CellProcess(Protocol):
    """A process that writes to a log.

    It treats the end of standard input as Ctrl-C.
    """

    def poll(self) -> int | None:
        """Return the exit status, or None while the process runs.

        A signal is a negative number.
        """

    def end_input(self) -> None:
        """Close its standard input, even if it has ended."""

    def stop(self, grace_seconds: float = GRACE_SECONDS) -> None:
        """Close its input, and kill the process after the grace period.

        Returns when the process has ended.
        """


class Spawned:
    """A command that runs in a separate process and overwrites the log."""

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            # In a new session, Ctrl-C in the terminal reaches only this process, which forwards it once.
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
    """Run a command, and append its exit status to its log.

    An exception in this process stops the command.
    """
    spawned = Spawned(command, log, environment)
    try:
        status = spawned.process.wait()
    except BaseException:
        spawned.stop()
        raise
    note_end(log, status)
    return status


def note_end(log: Path, status: int) -> None:
    """Append an exit status to the log of a process."""
    with log.open("a", encoding="utf-8") as file:
        file.write(f"\n{_END}{status}\n")


def how_it_ended(log: Path) -> str:
    """Return why a cell failed, such as its error or a signal.

    >>> how_it_ended(Path("nowhere.log"))
    'the process never started'
    """
    if not log.is_file():
        return "the process never started"
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    status = None
    if lines and (found := re.fullmatch(re.escape(_END) + r"(-?\d+)", lines[-1])):
        status = int(found[1])
        lines.pop()
    if status is None:
        return "interrupted together with its parent process"
    if status < 0:
        name = signal.Signals(-status).name
        return f"killed by {name}" + (", possibly out of memory" if name == "SIGKILL" else "")
    if status == FORKED_FROM_NOTHING:
        return "the fork server was killed"
    errors = [line.removeprefix("Error: ") for line in lines if line.startswith("Error: ")]
    return (errors or lines or ["no output"])[-1] + ("" if status in (1, 2) else f" (exit status {status})")
