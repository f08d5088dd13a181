"""Measure scoring and selection for segmentation.

    python benchmarks/dense_speed.py                  # all parts, about 10 minutes on 2 cores
    python benchmarks/dense_speed.py selection
    python benchmarks/dense_speed.py bald pooling --device cuda
    python benchmarks/dense_speed.py classification --against FOLDER    # a checkout of another version
    python benchmarks/dense_speed.py --quick          # small sizes for a quick check; writes below runs/

Seconds are CPU seconds, which other processes change less than the time that passes; on a GPU they are the time that
passes. Each part writes a CSV to benchmarks/results/dense_speed_DATE and updates the README there for all parts of the
day; the first part also writes a plot.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import dense_cases
import record
import torch
from harness import Case, Row, console, measure

PARTS = {
    "bald": (
        dense_cases.bald_cases,
        "BALD of regions, from uint8 images to scores. The floor is the passes of all draws over the same batch, up to "
        "the output that dal reads; it computes no scores. dal is `summarize_points` with all overhead and tiles of "
        "all images. In LRASPP, this output has the resolution of the images, so that all draws of 8 images take 3.3 "
        "GiB in float32. Draws share the layers before the first dropout layer, so dal can take less time than the "
        "floor.",
    ),
    "pooling": (
        dense_cases.pooling_cases,
        "Entropy of regions, from uint8 images to scores. The floor is one plain pass over the same images in the same "
        "batches, up to the output that dal reads.",
    ),
    "selection": (
        dense_cases.selection_cases,
        "Selections from scores that a pass has kept, in the size of Cityscapes with regions of 32 x 32 pixels. A "
        "seventh of the scores are equal. The floor sorts all scores once.",
    ),
    "classification": (
        None,
        "Scoring of made-up images for classification with SmallCNN. The floor is the version in `against`, in another "
        "process; both processes take turns. The ratio is the median over the turns.",
    ),
}
ABOUT = (
    "Medians over repeats in which the contenders take turns, on one thread. Seconds are CPU seconds on a CPU, and the "
    "time that passes on a GPU. `to floor` is the ratio to the floor of the same case. Extra MiB is the increase in "
    "peak resident memory of one run in a separate process, or in peak GPU memory."
)
OWN = Path(__file__).parent.parent
TURNS = {"1500|8": 20, "10000|28": 1}
"""Images and their side, and the passes of a turn."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; default: all")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu", help="cpu or cuda, for bald and pooling")
    parser.add_argument("--against", type=Path, help="folder of another version of dal, for classification")
    parser.add_argument("--no-memory", action="store_true", help="measure time only")
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--results", type=Path, help="folder of the results (default: benchmarks/results)")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"unknown part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    if "classification" in options.parts and options.against is None:
        parser.error("classification needs --against FOLDER")

    dense_cases.DEVICE["name"] = options.device
    folder = record.dated(options.results or (record.QUICK_RESULTS if options.quick else record.RESULTS), "dense_speed")
    for part in options.parts or [part for part in PARTS if part != "classification" or options.against]:
        device = options.device if part in ("bald", "pooling") else "cpu"
        facts = record.facts_now(
            repeats=options.repeats, threads=1, seed=dense_cases.SEED, device=device, quick=options.quick
        )
        cases, _ = PARTS[part]
        if cases is None:
            facts["against"] = _commit(options.against)
            rows = against(options.against, options.repeats, options.quick)
        else:
            rows = [
                row
                for case in cases(1, options.quick)
                for row in measured(case, options.repeats, device, not options.no_memory)
            ]
        record.print_table(console(), f"{part}, {options.repeats} repeats", rows)
        if record.pictured(folder, part):
            record.plot_bars(folder / f"{part}.png", f"{part}: seconds by contender", rows)
        record.write_part(folder, part, rows, facts)
        record.write_readme(folder, "Speed for segmentation", ABOUT, {name: text for name, (_, text) in PARTS.items()})
    print(f"Written: {folder}")
    return 0


def measured(case: Case, repeats: int, device: str, memory: bool) -> list[Row]:
    """Return one row per contender."""
    if device == "cpu":
        return measure(case, repeats, memory)
    rows = measure(case, repeats, memory=False, clock=time.perf_counter)
    for contender, row in zip(case.build(**case.sizes), rows, strict=True):
        assert contender.run is not None
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        contender.run()
        row["extra_mib"] = (torch.cuda.max_memory_allocated() - before) / 2**20
    return rows


def against(folder: Path, repeats: int, quick: bool) -> list[Row]:
    """Return the rows of this version and of another one, which take turns in two processes."""
    contenders = {f"floor, {_commit(folder)}": folder, "dal": OWN}
    functions = ["margin"] if quick else ["margin", "badge", "bald, 20 draws"]
    rows: list[Row] = []
    with ExitStack() as stack:
        workers = {name: stack.enter_context(_worker(place)) for name, place in contenders.items()}
        for sizes, passes in {"50|8": 1}.items() if quick else TURNS.items():
            for function in functions:
                order, seconds = f"{function}|{passes}|{sizes}", {name: list[float]() for name in workers}
                for turn in range(repeats + 1):
                    # The first turn warms up. Each version starts every other turn.
                    for name in list(workers)[:: 1 if turn % 2 else -1]:
                        taken = _seconds(workers[name], order)
                        seconds[name] += [taken] if turn else []
                count, side = sizes.split("|")
                title = f"{function}, {int(count):,} images {side} x {side}, {passes} passes"
                rows += _compared(title, seconds)
    return rows


def _compared(title: str, seconds: dict[str, list[float]]) -> list[Row]:
    floor = next(iter(seconds.values()))
    rows: list[Row] = []
    for name, taken in seconds.items():
        row: Row = {"case": title, "threads": 1, "contender": name, "median_s": statistics.median(taken)}
        row |= {"min_s": min(taken), "max_s": max(taken)}
        row |= {"ratio": statistics.median(a / b for a, b in zip(taken, floor, strict=True)), "repeats": len(taken)}
        rows.append(row | {"extra_mib": None, "note": ""})
    return rows


@contextmanager
def _worker(folder: Path) -> Iterator[subprocess.Popen[str]]:
    script = Path(__file__).with_name("against_worker.py")
    environment = os.environ | {"PYTHONPATH": str(folder.resolve()), "OMP_NUM_THREADS": "1"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, str(script)], text=True, env=environment, **pipes)
    try:
        yield process
    finally:
        process.communicate()


def _seconds(worker: subprocess.Popen[str], order: str) -> float:
    assert worker.stdin is not None and worker.stdout is not None
    worker.stdin.write(f"{order}\n")
    worker.stdin.flush()
    return float(worker.stdout.readline())


def _commit(folder: Path) -> str:
    command: Sequence[str] = ["git", "-C", str(folder), "rev-parse", "--short", "HEAD"]
    found = subprocess.run(command, capture_output=True, text=True)
    return found.stdout.strip() or folder.name


if __name__ == "__main__":
    sys.exit(main())
