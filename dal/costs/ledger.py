"""The ledger: what each phase of a round cost, in samples, FLOPs, seconds, joules and memory."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import torch

from dal.costs.energy import energy_between, read_energy

PHASES = ("embed", "score", "select", "train", "validate", "test", "stop", "checkpoint")
"""Features that are computed once, the pass over the pool, the choice, training, checks during it, the test, the pass
over the points that stopping rules follow, and writing weights."""

_FORWARD = tuple(phase for phase in PHASES if phase not in ("select", "checkpoint"))


class Ledger:
    """Counts of one round, by phase. ``row()`` gives them as flat keys, ready for the journal.

    Samples and FLOPs (see dal.costs.flops) are exact and the same on every machine; seconds, memory and, where NVML
    tells them, joules are measured.

    >>> ledger = Ledger()
    >>> with ledger.phase("train"):
    ...     ledger.add("train", samples_forward=64, samples_backward=64)
    >>> ledger.row()["samples_backward_train"]
    64
    """

    def __init__(self, row: dict[str, Any] | None = None) -> None:
        self._counts: dict[str, int] = defaultdict(int)
        self._seconds: dict[str, float] = defaultdict(float)
        self._joules: dict[str, float] = defaultdict(float)
        self._open: list[str] = []
        self._peak_memory = 0
        for key, value in (row or {}).items():
            kind, _, phase = key.rpartition("_")
            if kind == "seconds":
                self._seconds[phase] = value
            elif kind == "joules":
                self._joules[phase] = value
            elif key == "peak_memory_bytes":
                self._peak_memory = value
            else:
                self._counts[key] = value

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the seconds and joules spent inside. A phase inside another is taken out of the outer one's."""
        if not self._open:
            _reset_peak_memory()
        start = _synchronized_time()
        energy = read_energy()
        before, joules_before = sum(self._seconds.values()), sum(self._joules.values())
        self._open.append(name)
        try:
            yield
        finally:
            self._open.pop()
            inner = sum(self._seconds.values()) - before
            self._seconds[name] += _synchronized_time() - start - inner
            self._peak_memory = max(self._peak_memory, _peak_memory())
            joules = energy_between(energy, read_energy()) if energy else None
            if joules is not None:
                inner_joules = sum(self._joules.values()) - joules_before
                self._joules[name] += max(0.0, joules - inner_joules)

    def add(self, phase: str, **counts: int) -> None:
        """Add to counts of a phase, for example ``add("score", samples_forward=256)``."""
        for what, count in counts.items():
            self._counts[f"{what}_{phase}"] += count

    def row(self) -> dict[str, Any]:
        """Everything counted so far, with a key for each phase whether or not it happened; those of joules only where
        they were measured."""
        counts = {f"samples_forward_{p}": 0 for p in _FORWARD} | {"samples_backward_train": 0}
        counts |= {f"flops_forward_{p}": 0 for p in _FORWARD}
        counts |= {"flops_backward_train": 0, "flops_draws_score": 0, "flops_select": 0}
        phases = dict.fromkeys((*PHASES, *self._seconds))
        row: dict[str, Any] = counts | self._counts
        row |= {f"seconds_{p}": round(self._seconds[p], 6) for p in phases}
        if self._joules:
            row |= {f"joules_{p}": round(self._joules[p], 3) for p in phases}
        return row | {"peak_memory_bytes": self._peak_memory}


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
