"""Forks cells from a process that has done their imports.

That process is the fork server of multiprocessing. It has trained nothing, has no threads and has used no GPU, so a
forked cell behaves like a new process. The fork server ends with the sweep.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

import torch
from threadpoolctl import threadpool_limits

from dal.sweep.process import CELL_MODULE, GRACE_SECONDS, CellProcess, Spawned, cell_command

_SERVER: Final = "forkserver"
# The order matters: the first module detaches the server from the terminal.
_PRELOADED = ["dal.sweep.fork_server", "dal.cli.run", "dal.reports.overview", "sklearn.datasets"]
_PRELOADED += ["torch.utils.tensorboard", "narwhals"]


def begin_cell(overrides: Sequence[str], log: Path, environment: Mapping[str, str]) -> CellProcess:
    """Start the process of a cell, forked if the system supports it."""
    if _SERVER in multiprocessing.get_all_start_methods():
        return Forked(overrides, log, environment)
    return Spawned(cell_command(overrides), log, environment)


class Forked:
    """A forked process that runs a cell and overwrites the log."""

    def __init__(self, overrides: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_bytes(b"")
        context = multiprocessing.get_context(_SERVER)
        context.set_forkserver_preload(_PRELOADED)
        theirs, self._input = context.Pipe(duplex=False)
        arguments = (list(overrides), str(log.resolve()), dict(environment), theirs)
        self._process = context.Process(target=_become_cell, args=arguments)
        self._process.start()
        theirs.close()
        self.pid = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def end_input(self) -> None:
        self._input.close()

    def stop(self, grace_seconds: float = GRACE_SECONDS) -> None:
        self.end_input()
        self._process.join(grace_seconds)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()


def _become_cell(overrides: list[str], log: str, environment: dict[str, str], standard_input: Connection) -> None:
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    output = os.open(log, os.O_WRONLY | os.O_APPEND)
    for ours, theirs in ((standard_input.fileno(), 0), (output, 1), (output, 2)):
        os.dup2(ours, theirs)
    standard_input.close()
    os.close(output)
    os.environ.clear()
    os.environ.update(environment)
    if threads := environment.get("OMP_NUM_THREADS"):
        # The loaded libraries have already read the variable.
        torch.set_num_threads(int(threads))
        threadpool_limits(int(threads))
    sys.argv = [CELL_MODULE, "run", *overrides]
    runpy.run_module(CELL_MODULE, run_name="__main__", alter_sys=True)
