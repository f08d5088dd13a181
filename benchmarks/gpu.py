"""Compare scoring and selection on a GPU with hand-written code.

    python benchmarks/gpu.py                    # all parts
    python benchmarks/gpu.py scoring coreset    # some of scoring, coreset, badge, imagenet

Results are also compared with the measured limits of the hardware. The part imagenet has 1,281,167 points x 2,048 bf16
features and 1,000 classes, and needs 40 GB of memory. An entry that does not fit reports the reason, and the other
entries continue. Each part writes a CSV to benchmarks/results/gpu_DATE and updates the README there for all parts of
the day; the first part also writes a plot. Without a CUDA GPU, the exit code is 2.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gpu_cases
import record
import torch
from gpu_limits import ARITHMETIC, measured_limits, synchronize
from harness import Contender, Row, console, in_turns

PARTS: dict[str, tuple[Callable[[torch.device, bool], gpu_cases.Cases], str]] = {
    "scoring": (
        gpu_cases.scoring,
        "BALD with synthetic images. The floor has normalized images on the GPU; dal starts from uint8 images in main "
        "memory. The floor of ResNet-18, whose only dropout precedes the head, is one plain pass.",
    ),
    "coreset": (gpu_cases.coreset, "Greedy k-center, 1,000 labeled points, rectified normal features."),
    "badge": (gpu_cases.badge, "k-means++ on gradients, rectified normal features, float32 probabilities."),
    "imagenet": (gpu_cases.imagenet, "Selection in the shape of ImageNet and ResNet-50; 1,000 labeled points."),
}
ABOUT = (
    "Seconds are medians over repeats in which the contenders take turns. `to floor` is the ratio of medians to the "
    "floor of the same kind. Extra MiB is the increase in peak GPU memory of the run. GB and GFLOP are the minimum "
    "work by formula (benchmarks/gpu_limits.py). The shares divide them by the median time and compare the result "
    "with the copy bandwidth and the arithmetic of that type, both measured in the same run (`limits` below). A share "
    "above 100 % means that the code skips passes over the data. dal records the operations of each pass anew, so its "
    "compiled rows include that; those of the floor do not. The floor with bf16 features rounds its products to bf16, "
    "so its time is valid but its picks are not."
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; default: all")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--results", type=Path, help="folder of the results (default: benchmarks/results)")
    parser.add_argument("--quick", action="store_true", help="small sizes for a quick check; writes below runs/")
    parser.add_argument("--device", default="cuda", help=argparse.SUPPRESS)  # cpu, to test the logic with --quick
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"unknown part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("This benchmark needs a CUDA GPU, and PyTorch finds none.", file=sys.stderr)
        return 2

    folder = record.dated(options.results or (record.QUICK_RESULTS if options.quick else record.RESULTS), "gpu")
    limits = measured_limits(device, options.quick)
    units = {"bandwidth_gb_s": limits["bandwidth"] / 1e9} | {f"{a}_tflop_s": limits[a] / 1e12 for a in ARITHMETIC}
    rounded = {name: float(f"{value:.4g}") for name, value in units.items()}
    print(f"Limits measured: {rounded}")
    for part in options.parts or PARTS:
        cases, _ = PARTS[part]
        facts = record.facts_now(repeats=options.repeats, seed=gpu_cases.SEED, quick=options.quick, limits=rounded)
        rows = []
        for title, build in cases(device, options.quick):
            rows += measure(title, build, options.repeats, device, limits)
        record.print_table(console(), f"{part}, {options.repeats} repeats", rows)
        if record.pictured(folder, part):
            record.plot_bars(folder / f"{part}.png", f"{part}: seconds by contender", rows)
        record.write_part(folder, part, rows, facts)
        record.write_readme(folder, "Speed on a GPU", ABOUT, {name: text for name, (_, text) in PARTS.items()})
    print(f"Written: {folder}")
    return 0


def measure(
    title: str,
    build: Callable[[], list[gpu_cases.Entry]],
    repeats: int,
    device: torch.device,
    limits: dict[str, float],
) -> list[Row]:
    """Return one row per entry.

    An entry that fails reports the reason and does not stop the others.
    """
    try:
        entries = build()
    except RuntimeError as error:
        print(f"{title}: left out: {_why(error)}", file=sys.stderr)
        return []
    peaks: dict[str, int] = {}
    failed: dict[str, str] = {}
    contenders = []
    for entry in entries:
        run = watched(entry, device, peaks)
        try:
            run()  # chooses kernels, compiles the floor
        except (RuntimeError, ValueError, TypeError) as error:
            failed[entry.name] = _why(error)
            print(f"{title}: {entry.name}: {failed[entry.name]}", file=sys.stderr)
            continue
        contenders.append(Contender(entry.name, run))
    seconds, _ = in_turns(contenders, repeats)
    rows: list[Row] = []
    floor = None
    for entry in entries:
        row: Row = {"case": title, "contender": entry.name}
        taken, work = seconds.get(entry.name), entry.work
        median = statistics.median(taken) if taken else None
        if entry.name.startswith("floor"):
            floor = median
        if taken is None or median is None:
            rows.append(row | dict.fromkeys(_MEASURED) | {"note": failed[entry.name]})
            continue
        row |= {"median_s": median, "min_s": min(taken), "max_s": max(taken)}
        row |= {"ratio": median / floor if floor else None, "repeats": len(taken)}
        row["extra_mib"] = peaks[entry.name] / 2**20 if device.type == "cuda" else None
        row |= {"gb": work.bytes / 1e9, "gflop": work.flops / 1e9, "products": work.arithmetic}
        row["bandwidth_share"] = work.bytes / median / limits["bandwidth"]
        row["arithmetic_share"] = work.flops / median / limits[work.arithmetic]
        print(f"{title}: {entry.name}: {median:.3g} s")
        rows.append(row | {"note": ""})
    del entries, contenders
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return rows


_MEASURED = ("median_s", "min_s", "max_s", "ratio", "repeats", "extra_mib", "gb", "gflop", "products")
_MEASURED += ("bandwidth_share", "arithmetic_share")


def watched(entry: gpu_cases.Entry, device: torch.device, peaks: dict[str, int]) -> Callable[[], Any]:
    """Wrap the run to synchronize and record its peak memory.

    The peak overwrites that of the warm-up.
    """

    def run() -> Any:
        if device.type != "cuda":
            return entry.run()
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        result = entry.run()
        synchronize(device)
        peaks[entry.name] = torch.cuda.max_memory_allocated(device) - before
        return result

    return run


def _why(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"


if __name__ == "__main__":
    sys.exit(main())
