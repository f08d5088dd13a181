"""Measure how the time and memory of dal grow with each size.

    python benchmarks/scale.py                  # coreset, badge and bald, about 5 minutes on 2 cores
    python benchmarks/scale.py badge --threads 1
    python benchmarks/scale.py --quick          # small sizes for a quick check; writes below runs/

The sizes are pool, features, classes, picks and draws. One size at a time grows geometrically, and the others stay at
the middle of their grids. The exponent is the slope of a straight line through the logarithms, with its standard error:
1 is linear growth, 0 is none. Each part writes a CSV to benchmarks/results/scale_DATE and updates the README there for
all parts of the day; the first part also writes a plot.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fashion
import numpy as np
import record
import torch
from harness import Case, Contender, Row, console, measure
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from scipy.stats import linregress

from dal import Classifier
from dal.acquisition import BALD, badge_select, k_center_greedy
from dal.data.images import ImageData, TensorSource
from dal.models.adapt import as_adapted
from dal.models.backbones import SmallCNN
from dal.scoring.model_pass import ModelPass
from dal.scoring.select import summarize_points

SEED = 0
LEAST_MIB = 1.0  # smaller values are measurement noise


def coreset(pool: int, features: int, picks: int) -> list[Contender]:
    x = fashion.normal_features(pool + 200, features).relu_()
    return [Contender("dal", lambda: k_center_greedy(x[:pool], x[pool:], picks))]


def badge(pool: int, features: int, classes: int, picks: int) -> list[Contender]:
    x = fashion.normal_features(pool, features).relu_()
    probs = fashion.made_up_probs(x, classes)
    return [Contender("dal", lambda: badge_select(probs, x, picks, torch.Generator().manual_seed(SEED)))]


def bald(pool: int, classes: int, draws: int) -> list[Contender]:
    torch.manual_seed(SEED)
    passes = ModelPass(as_adapted(Classifier(SmallCNN(1, (28, 28)), classes).eval()))
    pixels = torch.randint(0, 256, (pool, 1, 28, 28), dtype=torch.uint8)
    labels, names = torch.zeros(pool, dtype=torch.int64), [str(c) for c in range(classes)]
    data = ImageData(
        "made up", TensorSource(pixels), [str(i) for i in range(pool)], labels, names, mean=[0.5], std=[0.5]
    )
    points = data, torch.arange(pool)
    return [Contender("dal", lambda: summarize_points(passes, BALD(draws), points, seed=SEED))]


WIDTHS = [64, 128, 256, 512, 1024]
PICKS = [50, 100, 200, 400, 800]
CLASSES = [10, 30, 100, 300, 1000]
POOLS = [25_000, 50_000, 100_000, 200_000, 400_000]
PARTS: dict[str, tuple[Any, dict[str, list[int]], str]] = {
    "coreset": (
        coreset,
        {"pool": POOLS, "features": WIDTHS, "picks": PICKS},
        "`k_center_greedy` on rectified normal features, 200 labeled points.",
    ),
    "badge": (
        badge,
        {"pool": POOLS, "features": WIDTHS, "classes": CLASSES, "picks": PICKS},
        "`badge_select` on rectified normal features and the probabilities of a random last layer.",
    ),
    "bald": (
        bald,
        {"pool": [250, 500, 1000, 2000, 4000], "classes": CLASSES, "draws": [5, 10, 20, 40, 80]},
        "`summarize_points` with BALD and SmallCNN on synthetic images 1x28x28.",
    ),
}
ABOUT = (
    "Seconds are medians. Extra MiB is the increase in peak resident memory of one run in a separate process, without "
    "inputs. Exponents are slopes over the whole grid on logarithms, ± one standard error; memory below "
    f"{LEAST_MIB:g} MiB counts as {LEAST_MIB:g} MiB."
)


def grid(part: str, threads: int, quick: bool) -> list[tuple[str, Case]]:
    """Return pairs of the growing size and the case.

    The other sizes are at the middle of their grids.
    """
    build, sizes, _ = PARTS[part]
    if quick:
        sizes = {
            name: [value // (10 if name == "pool" else 1) for value in values[:3]] for name, values in sizes.items()
        }
    middle = {name: values[len(values) // 2] for name, values in sizes.items()}
    if "classes" in middle:  # as in most data sets
        middle["classes"] = sizes["classes"][0]
    tiny = {name: min(values[0], 200) for name, values in sizes.items()} | {"pool": 200, "picks": 2}
    tiny = {name: value for name, value in tiny.items() if name in sizes}
    cases = []
    for name, values in sizes.items():
        for value in values:
            title = f"{part}, {name} {value:,}"
            cases.append((name, Case(title, build, middle | {name: value}, tiny, threads)))
    return cases


def exponents(rows: Sequence[Row]) -> list[Row]:
    """Return one row per growing size."""
    found = []
    for varied in dict.fromkeys(row["varied"] for row in rows):
        group = [row for row in rows if row["varied"] == varied]
        row: Row = {"varied": varied, "from": group[0][varied], "to": group[-1][varied]}
        for name, key in (("seconds", "median_s"), ("extra MiB", "extra_mib")):
            values = [row[key] for row in group]
            if None in values:
                row |= {f"{name} from": None, f"{name} to": None, f"{name} exponent": None}
                continue
            values = [max(value, LEAST_MIB) if key == "extra_mib" else value for value in values]
            line = linregress(np.log([row[varied] for row in group]), np.log(values))
            row |= {f"{name} from": float(values[0]), f"{name} to": float(values[-1])}
            # If memory is equal to the byte, the standard error is undefined.
            row[f"{name} exponent"] = f"{line.slope:.2f} ± {np.nan_to_num(line.stderr):.2f}"
        found.append(row)
    return found


def plot(path: Path, part: str, rows: Sequence[Row]) -> None:
    """Plot seconds above extra memory, one column per growing size."""
    summary = exponents(rows)
    figure = Figure(figsize=(2.6 * len(summary) + 0.6, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, len(summary), sharex="col", sharey="row", squeeze=False)
    for column, line in enumerate(summary):
        varied = line["varied"]
        group = [row for row in rows if row["varied"] == varied]
        sizes = [row[varied] for row in group]
        for axis, key, name in ((axes[0, column], "median_s", "seconds"), (axes[1, column], "extra_mib", "extra MiB")):
            if any(row[key] is None for row in group):
                continue
            least = LEAST_MIB if key == "extra_mib" else 0
            axis.loglog(sizes, [max(row[key], least) for row in group], "o-", color="#0072B2", markersize=4.5)
            if key == "median_s":
                axis.vlines(
                    sizes, [row["min_s"] for row in group], [row["max_s"] for row in group], color="0.2", lw=0.9
                )
            axis.set_title(f"exponent {line[f'{name} exponent']}", fontsize=9)
            axis.grid(color="0.9", linewidth=0.8)
            axis.spines[["top", "right"]].set_visible(False)
            axis.minorticks_off()
            axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.yaxis.set_major_formatter("{x:g}")
        axes[1, column].set_xticks(sizes, [f"{size:,}" for size in sizes], fontsize=8, rotation=45)
        axes[1, column].set_xlabel(varied)
    axes[0, 0].set_ylabel("seconds")
    axes[1, 0].set_ylabel("extra memory (MiB)")
    figure.suptitle(f"{part}: growth of time and memory", x=0.01, ha="left", fontsize=11.5)
    record.save(figure, path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; default: all")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="threads (default: all cores)")
    parser.add_argument("--no-memory", action="store_true", help="measure time only")
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--results", type=Path, help="folder of the results (default: benchmarks/results)")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"unknown part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")

    folder = record.dated(options.results or (record.QUICK_RESULTS if options.quick else record.RESULTS), "scale")
    for part in options.parts or PARTS:
        facts = record.facts_now(
            repeats=options.repeats, threads=options.threads, seed=SEED, quick=options.quick, least_mib=LEAST_MIB
        )
        rows = []
        for varied, case in grid(part, options.threads, options.quick):
            (row,) = measure(case, options.repeats, not options.no_memory)
            row = {key: row[key] for key in ("median_s", "min_s", "max_s", "repeats", "extra_mib")}
            rows.append({"varied": varied, **case.sizes, **row})
        record.print_table(console(), f"{part}: exponents", exponents(rows))
        if record.pictured(folder, part):
            plot(folder / f"{part}.png", part, rows)
        record.write_part(folder, part, rows, facts)
        record.write_readme(folder, "Scale", ABOUT, {name: text for name, (_, _, text) in PARTS.items()}, exponents)
    print(f"Written: {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
