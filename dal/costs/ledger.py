"""Ledger of a round: samples, FLOPs, seconds, joules and memory by phase."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import torch

from dal.costs.energy import energy_between, read_energy
from dal.costs.phases import Costs, flatten_costs, parse_costs, total_costs


class Ledger:
    """Costs of one round, ``{phase: Costs}``.

    ``row()`` returns them as flat keys for the journal. Samples and FLOPs (see dal.costs.flops) are exact and the same
    on every machine. Seconds and memory are measured, and so are joules if NVML reports them.

    >>> ledger = Ledger()
    >>> with ledger.phase("train"):
    ...     ledger.add("train", samples_forward=64, samples_backward=64)
    >>> ledger.row()["samples_backward_train"]
    64
    """

    def __init__(self, row: Mapping[str, Any] | None = None) -> None:
        row = row or {}
        self.costs: dict[str, Costs] = parse_costs(row)
        self._peak_memory: int = row.get("peak_memory_bytes", 0)
        self._open: list[str] = []

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure the seconds and joules of the block.

        An outer phase excludes its inner phases.
        """
        if not self._open:
            _reset_peak_memory()
        start = _synchronized_time()
        energy = read_energy()
        before = total_costs(self.costs)
        self._open.append(name)
        try:
            yield
        finally:
            self._open.pop()
            now, spent = total_costs(self.costs), self._of(name)
            spent.seconds += _synchronized_time() - start - (now.seconds - before.seconds)
            if not self._open:
                # The peak since the reset, so it covers the inner phases.
                self._peak_memory = max(self._peak_memory, _peak_memory())
            joules = energy_between(energy, read_energy()) if energy else None
            if joules is not None:
                inner = (now.joules or 0.0) - (before.joules or 0.0)
                spent.joules = (spent.joules or 0.0) + max(0.0, joules - inner)

    def add(self, phase: str, **counts: int) -> None:
        """Add to the counts of a phase, such as ``add("score", samples_forward=256)``.

        See Costs for the names.
        """
        spent = self._of(phase)
        for name, count in counts.items():
            setattr(spent, name, getattr(spent, name) + count)

    def row(self) -> dict[str, Any]:
        """Return all counts so far as flat keys; see flatten_costs()."""
        return flatten_costs(self.costs) | {"peak_memory_bytes": self._peak_memory}

    def _of(self, phase: str) -> Costs:
        return self.costs.setdefault(phase, Costs())


def _uses_gpu() -> bool:
    # A run on the CPU of a machine with a GPU measures the CPU. Seeding starts CUDA there, but allocates nothing on it.
    if not torch.cuda.is_available() or not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return False
    devices = range(torch.cuda.device_count())
    # This counter keeps growing, unlike the memory in use, which is 0 after a training.
    return any(torch.cuda.memory_stats(device).get("allocated_bytes.all.allocated", 0) for device in devices)


def _synchronized_time() -> float:
    if _uses_gpu():
        torch.cuda.synchronize()
    return time.perf_counter()


_LINUX_STATUS, _LINUX_RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def _reset_peak_memory() -> None:
    if _uses_gpu():
        torch.cuda.reset_peak_memory_stats()
    elif _LINUX_RESET.exists():
        with suppress(OSError), _LINUX_RESET.open("wb", buffering=0) as file:
            file.write(b"5")  # resets the kernel's peak of the resident set


def _peak_memory() -> int:
    """Return the peak memory since the reset, in bytes.

    In a process that uses a GPU this is GPU memory, else the resident set. Systems other than Linux report the current
    resident set.
    """
    if _uses_gpu():
        return int(torch.cuda.max_memory_allocated())
    if _LINUX_STATUS.exists():
        # A round of a small network reads this file several times, so it is neither decoded nor buffered.
        with _LINUX_STATUS.open("rb", buffering=0) as file:
            _, found, rest = file.read().partition(b"\nVmHWM:")
        if found:
            return int(rest.split(maxsplit=1)[0]) * 1024
    return int(psutil.Process().memory_info().rss)
