"""Measure core-set and BADGE on disk, within a memory budget.

    python benchmarks/disk.py                   # two million points x 512, about 10 minutes on 2 cores and 2 GB of disk
    python benchmarks/disk.py --points 200000 --quick

The command generates float16 features once, in a .npy file below runs/, and BADGE's float32 probabilities (10 classes)
in the same folder. It first compares selections on fewer points with those from tensors in memory. Each measured run is
a separate process with the memory budget as its limit. It opens the files as DiskRows, selects, and reports its peak
resident set on Linux, including Python and PyTorch.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import record
import torch
from harness import Row, console

from dal.acquisition import DiskRows, badge_select, k_center_greedy
from dal.runtime.byte_size import parse_bytes

SEED, LABELED = 0, 1000
FOLDER = record.HERE.parent / "runs" / "benchmarks" / "disk"
ABOUT = (
    "Seconds are medians over processes and include reading. After the first process, the files are in the system's "
    "cache. The largest resident set is that of the whole process, including Python and PyTorch, and is {kept}. On "
    "{points:,} of the points, the selections from disk and from memory are {equal}."
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=2_000_000)
    parser.add_argument("--picks", type=int, default=1000)
    parser.add_argument("--budget", default="1GiB")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="threads (default: all cores)")
    parser.add_argument("--quick", action="store_true", help="write below runs/")
    parser.add_argument("--results", type=Path, help="folder of the results (default: benchmarks/results)")
    parser.add_argument("--one", choices=("coreset", "badge"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(options)))
        return 0
    make_files(options.points)
    facts = record.facts_now(repeats=options.repeats, threads=options.threads, seed=SEED, labeled=LABELED)
    fewer = min(options.points, 100_000)
    is_equal = equal_to_memory(fewer, min(options.picks, 300), options.budget)
    print(f"selections from disk and from memory are {'' if is_equal else 'not '}equal", flush=True)
    rows = [measured(name, options) for name in ("coreset", "badge")]
    record.print_table(console(), "on disk", rows)
    folder = record.dated(options.results or (record.QUICK_RESULTS if options.quick else record.RESULTS), "disk")
    record.write_part(folder, "disk", rows, facts)
    is_kept = all(row["largest_resident_mib"] * 2**20 < parse_bytes("budget", options.budget) for row in rows)
    about = ABOUT.format(
        kept="less than the budget in every run" if is_kept else "MORE THAN THE BUDGET",
        points=fewer,
        equal="equal" if is_equal else "NOT EQUAL",
    )
    record.write_readme(folder, "Pools on disk", about, {"disk": "`k_center_greedy` and `badge_select` over DiskRows."})
    print(f"Written: {folder}")
    return 0 if is_kept and is_equal else 1


def files(points: int) -> tuple[Path, Path]:
    return FOLDER / f"features_{points}.npy", FOLDER / f"probs_{points}.npy"


def make_files(points: int, width: int = 512, classes: int = 10) -> None:
    """Write synthetic features and probabilities.

    The features are rectified and have low rank and uneven norms, like those of a network. The files appear under their
    names when they are complete.
    """
    paths = files(points)
    if all(path.exists() for path in paths):
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    g = torch.Generator().manual_seed(SEED)
    directions, head = torch.randn(40, width, generator=g), torch.randn(40, classes, generator=g)
    unfinished = [path.with_suffix(".unfinished") for path in paths]
    kinds = ((np.float16, width), (np.float32, classes))
    arrays = [
        np.lib.format.open_memmap(path, "w+", dtype, (points, columns))
        for path, (dtype, columns) in zip(unfinished, kinds, strict=True)
    ]
    for start in range(0, points, 50_000):
        few = torch.randn(min(50_000, points - start), 40, generator=g)
        features = (few @ directions).relu_() * (0.4 * torch.randn(len(few), 1, generator=g)).exp()
        for array, values in zip(arrays, (features, (few @ head / 2).softmax(dim=1)), strict=True):
            array[start : start + len(few)] = values.numpy()
    del arrays
    for path, written in zip(paths, unfinished, strict=True):
        written.replace(path)


def select(name: str, features: Any, probs: Any, picks: int, budget: int | None) -> torch.Tensor:
    if name == "coreset":
        return k_center_greedy(features, features[:LABELED], picks, memory_budget=budget)
    return badge_select(probs, features, picks, torch.Generator().manual_seed(SEED), memory_budget=budget)


def equal_to_memory(points: int, picks: int, budget: str) -> bool:
    make_files(points)
    stored = [DiskRows(path) for path in files(points)]
    held = [rows[0:points] for rows in stored]
    allowed = parse_bytes("budget", budget)
    return all(
        torch.equal(select(name, *stored, picks, allowed), select(name, *held, picks, None))
        for name in ("coreset", "badge")
    )


def one(options: argparse.Namespace) -> dict[str, float]:
    torch.set_num_threads(options.threads)
    stored = [DiskRows(path) for path in files(options.points)]
    start = time.perf_counter()
    select(options.one, *stored, options.picks, parse_bytes("budget", options.budget))
    seconds = time.perf_counter() - start
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    return {"seconds": seconds, "peak_mib": peak / 1024}


def measured(name: str, options: argparse.Namespace) -> Row:
    runs = []
    for _ in range(options.repeats):
        done = subprocess.run(
            [sys.executable, __file__, *sys.argv[1:], "--one", name], capture_output=True, text=True, check=True
        )
        runs.append(json.loads(done.stdout))
        print(f"{name}: {runs[-1]['seconds']:.1f} s, at most {runs[-1]['peak_mib']:.0f} MiB", flush=True)
    seconds = [run["seconds"] for run in runs]
    return {
        "function": name,
        "points": options.points,
        "picks": options.picks,
        "budget": options.budget,
        "median_s": statistics.median(seconds),
        "min_s": min(seconds),
        "max_s": max(seconds),
        "repeats": len(runs),
        "largest_resident_mib": max(run["peak_mib"] for run in runs),
    }


if __name__ == "__main__":
    sys.exit(main())
