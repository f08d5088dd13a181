"""Measures the time and peak memory of contenders.

A case is one piece of work and its contenders, the hand-written floor first. Contenders take turns (A B C A B C ...),
so a slow machine affects all of them equally and the ratios remain valid. Peak memory is measured separately from time,
in one new process per contender, as the resident set on Linux.

This module has no command: see speed.py, scale.py and gpu.py.
"""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from threadpoolctl import threadpool_limits

NOT_INSTALLED = "not installed"
IMPORTED_BEFORE_FORK = ("dal.scoring.select", "scipy.stats", "pandas", "matplotlib.figure", "rich.table")
Row = dict[str, Any]


@dataclass(frozen=True)
class Contender:
    """One implementation of the work of a case."""

    name: str
    run: Callable[[], Any] | None  # None: not installed
    repeats: int | None = None  # fewer than requested, for slow contenders
    note: str = ""
    is_timed: bool = False  # run() returns its own seconds and the result, from another process


@dataclass(frozen=True)
class Case:
    """``build(**sizes)`` creates the contenders; each process that measures memory calls it again."""

    title: str
    build: Callable[..., list[Contender]]
    sizes: dict[str, Any]
    tiny: dict[str, Any] = field(default_factory=dict)  # sizes of the warm-up, which override the others
    threads: int = 1
    compare: Callable[[dict[str, Any]], dict[str, str]] | None = None  # maps last results to notes, both by name


def measure(
    case: Case,
    repeats: int,
    memory: bool = True,
    say: Callable[[str], None] = print,
    clock: Callable[[], float] | None = None,
) -> list[Row]:
    """Return one row per contender.

    A row has median, minimum and maximum seconds, the ratio to the first contender, and the peak extra memory.
    """
    with limited_to(case.threads):
        for contender in case.build(**case.sizes | case.tiny):
            if contender.run is not None:
                contender.run()
        contenders = case.build(**case.sizes)
        # With one thread, CPU time leaves out what other programs take.
        clock = clock or (time.process_time if case.threads == 1 else time.perf_counter)
        seconds, results = in_turns(contenders, repeats, clock)
    compared = case.compare(results) if case.compare else {}
    floor = statistics.median(seconds[contenders[0].name])
    rows = []
    for contender in contenders:
        taken = seconds.get(contender.name)
        notes = [contender.note, compared.get(contender.name, "")]
        row: Row = {"case": case.title, "threads": case.threads, "contender": contender.name}
        if taken is None:
            row |= dict.fromkeys(("median_s", "min_s", "max_s", "ratio", "repeats", "extra_mib"))
            notes = [NOT_INSTALLED]
        else:
            row |= {"median_s": statistics.median(taken), "min_s": min(taken), "max_s": max(taken)}
            row |= {"ratio": statistics.median(taken) / floor, "repeats": len(taken)}
            row["extra_mib"] = peak_extra_mib(case, contender.name) if memory and not contender.is_timed else None
            say(f"{case.title}: {contender.name}: {row['median_s']:.3g} s ({row['ratio']:.2f}x)")
        rows.append(row | {"note": "; ".join(note for note in notes if note)})
    return rows


def in_turns(
    contenders: Sequence[Contender], repeats: int, clock: Callable[[], float] = time.perf_counter
) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """Return the seconds of every run, and the last result, by contender."""
    seconds: dict[str, list[float]] = {}
    results: dict[str, Any] = {}
    for turn in range(repeats):
        for contender in contenders:
            if contender.run is None or turn >= (contender.repeats or repeats):
                continue
            gc.collect()
            start = clock()
            result = contender.run()
            taken = clock() - start
            if contender.is_timed:
                taken, result = result
            results[contender.name] = result
            seconds.setdefault(contender.name, []).append(taken)
    return seconds, results


def peak_extra_mib(case: Case, contender: str) -> float | None:
    """Return the increase in peak resident memory of one run.

    The run is in a new process. The result is None if unknown.
    """
    if not Path("/proc/self/clear_refs").exists():
        return None
    # Fork from a server that has only imported, because OpenMP threads do not survive a fork.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(IMPORTED_BEFORE_FORK))
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(_peak_extra_here, case, contender).result()
        except BrokenProcessPool:  # killed, probably by the kernel for lack of memory
            return None


def _peak_extra_here(case: Case, name: str) -> float:
    with limited_to(case.threads):
        # The one-time setup of libraries on their first call does not count.
        _runner(case.build(**case.sizes | case.tiny), name)()
        run = _runner(case.build(**case.sizes), name)
        gc.collect()
        _return_freed_memory()
        before = _status_kib("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark to the current resident set
        result = run()
        peak = _status_kib("VmHWM")
    del result
    return max(0, peak - before) / 1024


def _runner(contenders: Sequence[Contender], name: str) -> Callable[[], Any]:
    (run,) = (contender.run for contender in contenders if contender.name == name)
    assert run is not None, name
    return run


def _status_kib(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))


def _return_freed_memory() -> None:
    """Return freed memory to the system.

    Reuse of this memory would hide the memory that the run needs.
    """
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError):  # not glibc
        return


@contextmanager
def limited_to(threads: int) -> Iterator[None]:
    """Limit all libraries to this number of threads.

    This covers PyTorch and the BLAS and OpenMP pools of NumPy and scikit-learn.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with threadpool_limits(threads):
            yield
    finally:
        torch.set_num_threads(before)


def console(record: bool = False) -> Console:
    """Return a console of fixed width, independent of the terminal."""
    return Console(record=record, width=150)
