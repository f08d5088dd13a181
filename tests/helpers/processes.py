"""Real processes for tests, forked from one server for each test process.

A fresh interpreter spends 5 to 8 CPU seconds on imports; the server does so once. Signals, exit status and output are
those of any process.
"""

import contextlib
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from threadpoolctl import threadpool_limits

from dal.sweep import forked

HANG_SECONDS = 300
"""No test expects to wait this long: what does is a hang."""


class Process:
    """``python ARGUMENTS...``, where the arguments start with ``-m NAME`` or the path of a script."""

    def __init__(self, arguments, *, cwd=None, environment=None):
        self._folder = tempfile.TemporaryDirectory(prefix="dal-process-")
        self._streams = [Path(self._folder.name) / name for name in ("stdout", "stderr")]
        for path in self._streams:
            path.touch()
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(forked._PRELOADED)
        # One thread, as in the tests' own process: several would wait for one another on a busy machine.
        environment = {**(os.environ if environment is None else environment), "OMP_NUM_THREADS": "1"}
        where = os.fspath(Path.cwd() if cwd is None else cwd)
        self._process = context.Process(
            target=_become, args=([*map(str, arguments)], [*map(str, self._streams)], where, environment)
        )
        self._process.start()
        self.pid = self._process.pid

    @property
    def returncode(self):
        """The exit status, a signal as a negative number; None while the process runs."""
        return self._process.exitcode

    def send_signal(self, number):
        os.kill(self.pid, number)

    def kill(self):
        if self.returncode is None:
            self._process.kill()
        self.wait()

    def wait(self, timeout=HANG_SECONDS):
        self._process.join(timeout)
        if self.returncode is None:
            self._process.kill()
            self._process.join()
            raise AssertionError(f"the process hung:\n{''.join(self.output())}")
        return self.returncode

    def output(self):
        """What the process has written so far to its standard output and standard error."""
        return tuple(path.read_text() for path in self._streams)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.kill()
        self._folder.cleanup()


def run(arguments, **options):
    """The result of a process that has ended, as :func:`subprocess.run` returns it."""
    with Process(arguments, **options) as process:
        status = process.wait()
        return subprocess.CompletedProcess(arguments, status, *process.output())


def run_together(commands, **options):
    """The same for processes that run at the same time."""
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(Process(arguments, **options)) for arguments in commands]
        return [
            subprocess.CompletedProcess(arguments, process.wait(), *process.output())
            for arguments, process in zip(commands, processes, strict=True)
        ]


def wait_for(condition, seconds=HANG_SECONDS):
    """Return once ``condition()`` is true. The limit only ends a test that hangs."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "nothing happened: this is a hang"
        time.sleep(0.02)


def _become(arguments, streams, cwd, environment):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for path, number in zip(streams, (1, 2), strict=True):
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    # Libraries read OMP_NUM_THREADS when they are loaded, which they have been.
    torch.set_num_threads(1)
    threadpool_limits(1)
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        sys.path.insert(0, cwd)
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        sys.path.insert(0, os.fspath(Path(arguments[0]).parent))
        runpy.run_path(arguments[0], run_name="__main__")
