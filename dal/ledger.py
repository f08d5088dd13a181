"""The ledger: what each phase of a round cost, in samples, updates, seconds and memory."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import torch

PHASES = ("score", "select", "train", "validate", "test")


class Ledger:
    """Counts of one round, by phase. ``row()`` gives them as flat keys, ready for the journal.

    >>> ledger = Ledger()
    >>> with ledger.phase("train"):
    ...     ledger.add("train", samples_forward=64, samples_backward=64)
    >>> ledger.row()["samples_backward_train"]
    64
    """

    def __init__(self, row: dict[str, Any] | None = None) -> None:
        self._counts: dict[str, int] = defaultdict(int)
        self._seconds: dict[str, float] = defaultdict(float)
        self._open: list[str] = []
        self._peak_memory = 0
        for key, value in (row or {}).items():
            kind, _, phase = key.rpartition("_")
            if kind == "seconds":
                self._seconds[phase] = value
            elif key == "peak_memory_bytes":
                self._peak_memory = value
            else:
                self._counts[key] = value

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the seconds spent inside. A phase inside another is taken out of the outer one's."""
        if torch.cuda.is_available() and not self._open:
            torch.cuda.reset_peak_memory_stats()
        start = _synchronized_time()
        before = sum(self._seconds.values())
        self._open.append(name)
        try:
            yield
        finally:
            self._open.pop()
            inner = sum(self._seconds.values()) - before
            self._seconds[name] += _synchronized_time() - start - inner
            self._peak_memory = max(self._peak_memory, _memory_now())

    def add(self, phase: str, **counts: int) -> None:
        """Add to counts of a phase, for example ``add("score", samples_forward=256)``."""
        for what, count in counts.items():
            self._counts[f"{what}_{phase}"] += count

    def row(self) -> dict[str, Any]:
        """Everything counted so far, with a key for each phase whether or not it happened."""
        counts = {f"samples_forward_{p}": 0 for p in PHASES if p != "select"}
        counts |= {"samples_backward_train": 0} | self._counts
        seconds = {f"seconds_{p}": round(self._seconds[p], 6) for p in PHASES}
        return counts | seconds | {"peak_memory_bytes": self._peak_memory}


def _synchronized_time() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def _memory_now() -> int:
    """Bytes: on a GPU the peak of the phase; on a CPU the resident set at its end."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    return int(psutil.Process().memory_info().rss)
