"""Trains again and again, for training_step.py, with the version of dal on PYTHONPATH.

This module has no command: see training_step.py.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from harness import limited_to
from training_step_cases import CASES, Work, dal_fit, dal_rounds, round_data, seconds


class Worker:
    """Returns the CPU seconds of an order.

    An order is a case of updates, the number of images and of updates, or a round and whether it is small.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._works: dict[tuple[str, str], Work] = {}
        self._rounds: dict[str, Callable[[], None]] = {}

    def __call__(self, order: str) -> float:
        name, size, *length = order.split("|")
        if name == "round":
            if size not in self._rounds:
                self._rounds[size] = dal_rounds(*round_data(size == "True"), self.folder)
            return seconds(self._rounds[size])
        if (name, size) not in self._works:
            self._works[name, size] = CASES[name][0](int(size))
        return seconds(lambda: dal_fit(self._works[name, size], int(length[0])))


def serve() -> None:
    """Print the CPU seconds of each order, a line of the input."""
    with tempfile.TemporaryDirectory() as folder, limited_to(1):
        worker = Worker(Path(folder))
        for line in sys.stdin:
            print(worker(line.rstrip("\n")), flush=True)


if __name__ == "__main__":
    serve()
