"""Runs cells on this machine, each in its own process.

Hydra's joblib launcher uses a pool of workers. If one worker is killed, for example when it runs out of memory, the
whole pool ends. With one process per cell, no cell affects another.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dal.sweep.forked import begin_cell
from dal.sweep.grid import Cell
from dal.sweep.process import CellProcess, note_end

Begin = Callable[[Sequence[str], Path, Mapping[str, str]], CellProcess]
"""Starts the process of a cell from its overrides, log and environment."""
_LOOK_SECONDS = 0.1


@dataclass
class Running:
    """A running cell."""

    cell: Cell
    process: CellProcess
    log: Path
    since: float = field(default_factory=time.monotonic)


def run_locally(
    cells: Sequence[Cell],
    jobs: int,
    log_of: Callable[[Cell], Path],
    *,
    on_start: Callable[[Cell], None] = lambda cell: None,
    on_end: Callable[[Cell, int, float], None] = lambda cell, status, seconds: None,
    on_look: Callable[[Sequence[Cell]], None] = lambda running: None,
    gpus: Sequence[str] = (),
    begin: Begin = begin_cell,
) -> None:
    """Run the cells in order, ``jobs`` at a time.

    A failed cell does not stop the others. ``on_end`` gets the exit status (a signal as a negative number) and the wall
    time in seconds. ``on_look`` gets the running cells several times a second. No cell is running when the function
    returns or raises.
    """
    waiting, running, slots = deque(cells), dict[int, Running](), list(range(jobs))
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                cell, slot = waiting.popleft(), min(s for s in slots if s not in running)
                environment = os.environ | slot_environment(slot, jobs, os.environ, os.cpu_count() or 1, gpus)
                on_start(cell)
                running[slot] = Running(cell, begin(cell.overrides, log_of(cell), environment), log_of(cell))
            time.sleep(_LOOK_SECONDS)
            for slot, one in list(running.items()):
                status = one.process.poll()
                if status is not None:
                    del running[slot]
                    one.process.end_input()
                    note_end(one.log, status)
                    on_end(one.cell, status, time.monotonic() - one.since)
            on_look([one.cell for one in running.values()])
    finally:
        for one in running.values():
            one.process.end_input()  # signal all of them before waiting for any
        for one in running.values():
            one.process.stop()


def slot_environment(
    slot: int, jobs: int, environment: Mapping[str, str], cores: int, gpus: Sequence[str] = ()
) -> dict[str, str]:
    """Return the environment that gives a process its share of resources.

    The share is a number of cores and, of several GPUs, one.

    >>> slot_environment(1, 2, {}, cores=8, gpus=["0", "1"])
    {'OMP_NUM_THREADS': '4', 'CUDA_VISIBLE_DEVICES': '1'}
    """
    changes = {}
    if jobs > 1 and "OMP_NUM_THREADS" not in environment:
        changes["OMP_NUM_THREADS"] = str(max(1, cores // jobs))
    if len(gpus) > 1:
        changes["CUDA_VISIBLE_DEVICES"] = gpus[slot % len(gpus)]
    return changes
