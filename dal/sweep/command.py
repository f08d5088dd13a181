"""`dal run --multirun`: runs the missing cells of a grid."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.live import Live

from dal.errors import DalError, bad_value
from dal.reports.overview import report
from dal.runtime.console import SafeConsole
from dal.runtime.safe_text import visible
from dal.sweep.cluster import check_launcher, launch
from dal.sweep.forked import begin_cell
from dal.sweep.grid import Cell, common_folder, expand
from dal.sweep.local import Begin, run_locally
from dal.sweep.process import how_it_ended
from dal.sweep.status import DONE, REFUSED, RunStatus, run_status, seconds_left
from dal.sweep.table import begins_line, duration, grid_table, result_line

LOGS = ".sweep"
"""The folder next to the runs, with the last output of each cell and the files of launchers."""
_LOOK_SECONDS = 2.0  # maximum age of the table on a terminal


def sweep_command(
    overrides: Sequence[str],
    jobs: int = 1,
    launcher: Sequence[str] = (),
    console: Console | None = None,
    begin: Begin = begin_cell,
) -> int:
    """Run the missing cells of a grid.

    Returns the exit status, 1 if a cell failed. Finished cells are skipped, and interrupted cells resume. ``jobs``
    cells run at a time on this machine, or ``launcher`` (Hydra overrides) runs them elsewhere. Raises DalError for
    wrong overrides, before any cell starts.
    """
    if jobs < 1:
        raise bad_value("--jobs", "at least 1 run at a time", jobs)
    if launcher:
        if jobs > 1:
            raise bad_value("--jobs", "no --jobs with hydra/launcher, which sets the number of runs at a time", jobs)
        check_launcher(launcher[0].partition("=")[2])
    if console is None:
        console = SafeConsole()
        console.width = max(console.width, 100 if console.is_terminal else 140)
    sweep = Sweep(expand(overrides), console)
    sweep.say(f"{sweep.count(DONE)} of {len(sweep.cells)} runs are already done.")
    try:
        sweep.run(jobs, launcher, begin)
    except KeyboardInterrupt:
        sweep.look()
        console.print(sweep.table())
        console.print("Stopped. The same command resumes the sweep.")
        raise
    sweep.close()
    for cell in sweep.cells:
        if cell.run_dir in sweep.failed:
            print(f"Failed: {visible(f'{cell.run_dir}: {sweep.failed[cell.run_dir]}')}", file=sys.stderr)
    if sweep.failed:
        print(f"Logs: {visible(str(sweep.logs))}. The same command runs the missing cells.", file=sys.stderr)
    return 1 if sweep.failed else 0


class Sweep:
    """The state of a grid while it runs."""

    def __init__(self, cells: Sequence[Cell], console: Console) -> None:
        self.cells, self.console = list(cells), console
        self.logs = common_folder(self.cells) / LOGS
        self.statuses: dict[Path, RunStatus] = {cell.run_dir: run_status(cell) for cell in self.cells}
        self.failed = {folder: found.reason for folder, found in self.statuses.items() if found.stage == REFUSED}
        self.open = [c for c in self.cells if self.statuses[c.run_dir].stage not in (DONE, REFUSED)]
        self.running: list[Cell] = []
        self.jobs = 1
        self._walls: dict[Path, float] = {}
        self._live: Live | None = None
        self._looked = 0.0

    def count(self, stage: str) -> int:
        """Return the number of cells at this stage."""
        return sum(found.stage == stage for found in self.statuses.values())

    def say(self, line: str) -> None:
        self.console.print(visible(line), markup=False, soft_wrap=True)

    def log_of(self, cell: Cell) -> Path:
        """Return the log file of a cell."""
        name = os.path.relpath(cell.run_dir.resolve(), self.logs.parent.resolve()).replace(os.sep, "_")
        return self.logs / f"{name}.log"

    def table(self) -> Any:
        return grid_table(self.cells, self.statuses, self.running, self.failed, self._time_left())

    def look(self) -> None:
        """Update the status of the cells that are not done."""
        self.statuses |= {cell.run_dir: run_status(cell) for cell in [*self.open, *self.running]}

    def run(self, jobs: int, launcher: Sequence[str], begin: Begin) -> None:
        """Run the open cells, and return when all of them have ended."""
        if not self.open:
            return
        self.jobs = min(jobs, len(self.open))
        if launcher:
            self._launch(launcher)
            return
        shown = self.console.is_terminal
        self._live = Live(self.table(), console=self.console, auto_refresh=False, transient=True) if shown else None
        with self._live or nullcontext():
            run_locally(
                list(self.open),
                self.jobs,
                self.log_of,
                on_start=self._started,
                on_end=self._ended,
                on_look=self._looked_at,
                gpus=visible_gpus(self.cells),
                begin=begin,
            )
        self._live = None

    def close(self) -> None:
        """Print the final table, and report the finished runs."""
        self.console.print(self.table())
        done = [cell.run_dir for cell in self.cells if self.statuses[cell.run_dir].stage == DONE]
        tested = any(self.statuses[folder].accuracy is not None for folder in done)
        if tested:
            try:
                report(done, self.logs.parent, self.console)
            except DalError as error:  # for example, a valid run without a test set
                self.say(f"No summary: {error}")
        if self.console.is_terminal and done:
            self.say(f"To report more runs: {shlex.join(['dal', 'report', str(self.logs.parent)])}")

    def _launch(self, launcher: Sequence[str]) -> None:
        self.say(f"{len(self.open)} runs by {launcher[0]}. Logs: {self.logs}.")
        logs = [self.log_of(cell) for cell in self.open]
        for log in logs:
            log.unlink(missing_ok=True)  # an old log must not explain a new failure
        trouble = ""
        try:
            launch(self.open, logs, launcher, self.logs)
        except DalError as error:
            trouble = f"; {error}"
        self.look()
        for cell, log in zip(self.open, logs, strict=True):
            if self.statuses[cell.run_dir].stage != DONE:
                self.failed[cell.run_dir] = how_it_ended(log) + trouble
        self.open = []

    def _started(self, cell: Cell) -> None:
        self.running.append(cell)
        if self._live is None:
            self.say(f"{cell.name}: {begins_line(self.statuses[cell.run_dir])}")

    def _ended(self, cell: Cell, status: int, seconds: float) -> None:
        self.running.remove(cell)
        self.open.remove(cell)
        before, found = self.statuses[cell.run_dir], run_status(cell)
        self.statuses[cell.run_dir] = found
        if found.stage == DONE:  # even if the process was killed after its campaign ended
            what = f"done, {result_line(found)}, {duration(seconds)}"
            if not before.labels:  # a resumed cell measures only a part
                self._walls[cell.run_dir] = seconds
        else:
            reason = how_it_ended(self.log_of(cell)) if status else "the process ended before its campaign"
            self.failed[cell.run_dir] = reason
            what = f"FAILED: {reason}"
        left = self._time_left()
        ended = len(self.cells) - len(self.open)
        self.say(f"[{ended} of {len(self.cells)}] {cell.name}: {what}{f'; {left}' if left else ''}")

    def _looked_at(self, running: Sequence[Cell]) -> None:
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS or self._live is None:
            return
        self._looked = now
        self.statuses |= {cell.run_dir: run_status(cell) for cell in running}
        self._live.update(self.table(), refresh=True)

    def _time_left(self) -> str:
        left = seconds_left(self.cells, self.statuses, self.open, self.jobs, self._walls)
        if left is None or not self.open:
            return ""
        return f"about {duration(left)} left" + (f" with {self.jobs} at a time" if self.jobs > 1 else "")


def visible_gpus(cells: Sequence[Cell]) -> list[str]:
    """Return the GPUs to distribute over cells.

    The list is empty if a cell uses several GPUs or the CPU.
    """
    trainers = [cell.config["trainer"] for cell in cells]
    if any(t.get("devices") not in (1, "1") or t.get("accelerator") == "cpu" for t in trainers):
        return []
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    return given.split(",") if given else [str(i) for i in range(torch.cuda.device_count())]
