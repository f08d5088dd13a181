"""The ledger: what each phase of a round cost, in samples, updates, seconds and memory."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
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
        if not self._open:
            _reset_peak_memory()
        start = _synchronized_time()
        before = sum(self._seconds.values())
        self._open.append(name)
        try:
            yield
        finally:
            self._open.pop()
            inner = sum(self._seconds.values()) - before
            self._seconds[name] += _synchronized_time() - start - inner
            self._peak_memory = max(self._peak_memory, _peak_memory())

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


_LINUX_STATUS, _LINUX_RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def _reset_peak_memory() -> None:
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    elif _LINUX_RESET.exists():
        with suppress(OSError):
            _LINUX_RESET.write_text("5")  # makes the kernel's peak of the resident set start anew


def _peak_memory() -> int:
    """Bytes since the reset: of GPU memory where there is a GPU, else of the resident set (elsewhere than on Linux, of
    what is resident now)."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    if _LINUX_STATUS.exists():
        for line in _LINUX_STATUS.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return int(psutil.Process().memory_info().rss)
