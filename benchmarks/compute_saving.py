"""Compare compute policies with ``compute=classic``.

    python benchmarks/compute_saving.py digits
    python benchmarks/compute_saving.py fashion_mnist --functions margin bald --variants classic saver
    python benchmarks/compute_saving.py fashion_mnist_600
    python benchmarks/compute_saving.py digits_resnet18 --seeds 3
    python benchmarks/compute_saving.py fashion_mnist_pretrained --seeds 3     # needs pip install -e '.[embed]'

The policies are evaluated alone and together (the saver), with ablations of the saver and one training on all labels.
Runs are paired by seed: the initial set, model, function and optimizer are the same, and only the compute policy
differs. The command runs the missing runs of the grid and resumes interrupted ones. Each ``dal run`` is a separate
process with one thread. A dated table and a plot of accuracy against FLOPs are written to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from campaigns import chosen, commits, run
from compute_variants import CAMPAIGNS, variants
from harness import Row
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from record import RESULTS, dated, facts_now, pictured, save, write_part, write_readme

from dal.analysis import Run, area_under_curve, paired_difference, read_run
from dal.costs.prices import PricesConfig
from dal.runs.round import Round

# The usual colors, except those of the two main curves.
OTHER_COLORS = [f"tab:{name}" for name in ("blue", "green", "red", "purple", "brown", "pink", "olive", "cyan")]
OTHER_COLORS += ["black", "gold"]
PRICES = PricesConfig(label=0.10, gpu_hour=2.50)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", choices=list(CAMPAIGNS))
    parser.add_argument("--functions", nargs="+", default=["margin"], metavar="NAME[:KEY=VALUE]")
    parser.add_argument("--variants", nargs="+", metavar="NAME", help="all by default")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="overrides for all runs")
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs at a time")
    parser.add_argument("--runs", type=Path, default=Path("runs/compute_saving"), help="folder of the runs")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    known = variants(options.experiment)
    names = options.variants or list(known)
    for name in names:
        if name not in known:
            parser.error(f"--variants: expected some of {', '.join(known)}, got {name!r}.")
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    facts = facts_now(threads_a_run=1, runs_at_a_time=options.jobs, seeds=list(seeds))
    grid = [(f, s, v) for s in seeds for f in options.functions for v in dict.fromkeys(["classic", *names])]
    folders = {cell: options.runs / options.experiment / folder_name(*cell) for cell in grid}
    commands = [
        [
            "run",
            *CAMPAIGNS[options.experiment],
            *known[variant],
            *options.set,
            *chosen(function),
            f"seed={seed}",
            f"run_dir={folders[function, seed, variant]}",
        ]
        for function, seed, variant in grid
    ]
    with ThreadPoolExecutor(options.jobs) as jobs:
        failed = [command for command, ok in zip(commands, jobs.map(run, commands), strict=True) if not ok]
    if failed:
        print(f"{len(failed)} of {len(commands)} runs failed; run the command again to resume them.")
        return 1
    runs = {cell: read_run(folder) for cell, folder in folders.items()}
    facts["commits_of_the_runs"] = commits(list(folders.values()))
    target = dated(options.results, f"compute_saving_{options.experiment}")
    texts = {}
    for function in options.functions:
        mine = {v: [runs[function, s, v] for s in seeds] for v in dict.fromkeys(["classic", *names])}
        part = function.replace(":", "_").replace("=", "")
        write_part(target, part, [line(v, mine[v], mine["classic"]) for v in mine], facts)
        write_part(target, f"{part}_seeds", by_seed(seeds, mine), facts)
        if pictured(target, part):
            plot(target / f"{part}.png", f"{options.experiment}, {function}", mine)
        texts[part] = f"Acquisition function {function}."
        texts[f"{part}_seeds"] = "All runs."
    write_readme(target, f"Compute saving: {options.experiment}", ABOUT, texts)
    print(f"Written: {target}")
    return 0


ABOUT = (
    "Area is the mean test accuracy along the learning curve from the first to the last label, in percent. Its "
    "difference to classic, in points, is paired by seed, with half the width of its 95 % t interval. Areas are "
    "compared over the range that both curves share. TFLOP are means over seeds of training, checks, scoring, "
    "selection and the stop set, without testing. Shares of TFLOP and seconds are relative to classic. USD are for "
    "labels (0.10 each, validation labels included) and for the core of a run, priced like a GPU hour (2.50). Runs "
    "may come from several calls and from a machine with other work, so FLOPs are more reliable than seconds. The "
    "area of a proxy is omitted. Its last accuracy, updates and bill include the final model."
)


def folder_name(function: str, seed: int, variant: str) -> Path:
    """Return a path that needs no quotes in a shell."""
    plain = "".join(c if c.isalnum() else "_" for c in variant)
    return Path(function.replace(":", "_").replace("=", "")) / plain / f"seed{seed}"


def bill(run: Run) -> tuple[float, float, float, float]:
    """Return FLOPs of training and scoring, all FLOPs, and seconds.

    Testing is excluded.
    """
    score = sum(row.cost(["embed", "score", "select"]).total_flops for row in run.rows)
    costs = [row.method for row in (*run.rows, *final_model_of(run))]
    flops = sum(spent.total_flops for spent in costs)
    return flops - score, score, flops, sum(spent.seconds for spent in costs)


def final_model_of(run: Run) -> list[Round]:
    """Return the row of the final model, if there is one."""
    return [] if run.final_model is None else [run.final_model]


def last_accuracy(run: Run) -> float:
    """Return the accuracy in percent, of any final model."""
    last = [*run.rounds["test_accuracy"], *(row["test_accuracy"] for row in final_model_of(run))][-1]
    return 100 * float(last)


def updates(run: Run) -> float:
    """Return the total over all rounds and the final model."""
    return float(run.rounds["updates"].sum()) + sum(row["updates"] for row in final_model_of(run))


def has_curve(run: Run) -> bool:
    """Whether the learning curve of the run is relevant.

    It is not if all labels were bought at once, or if the network is a proxy.
    """
    return len(run.rounds) > 1 and not final_model_of(run)


def areas(runs: list[Run], others: list[Run]) -> list[float]:
    """Return areas in percent, over the labels that both groups share."""
    bought = [one.rounds["labels_bought"] for one in [*runs, *others]]
    low, high = max(x.iloc[0] for x in bought), min(x.iloc[-1] for x in bought)
    result = []
    for one in runs:
        x, y = one.rounds["labels_bought"].to_numpy(float), 100 * one.rounds["test_accuracy"].to_numpy(float)
        at = np.unique([low, *x[(x > low) & (x < high)], high])
        result.append(area_under_curve(at, np.interp(at, x, y)))
    return result


def line(variant: str, runs: list[Run], classic: list[Run]) -> Row:
    """Return a row of the table."""
    mine, theirs = (np.array([bill(run) for run in group]).mean(axis=0) for group in (runs, classic))
    area = difference = half_width = None
    if has_curve(runs[0]):
        area = float(np.mean(areas(runs, classic)))
        difference, half_width = paired_difference(areas(runs, classic), areas(classic, runs))
    return {
        "contender": variant,
        "area": area,
        "area - classic": difference,
        "±": half_width,
        "last accuracy": float(np.mean([last_accuracy(run) for run in runs])),
        "rounds": len(runs[0].rounds),
        "updates": float(np.mean([updates(run) for run in runs])),
        "TFLOP train": mine[0] / 1e12,
        "TFLOP score": mine[1] / 1e12,
        "FLOPs_share": mine[2] / theirs[2],
        "seconds": mine[3],
        "seconds_share": mine[3] / theirs[3],
        "compute USD": PRICES.cost(seconds=mine[3]),
        "USD": PRICES.cost(seconds=mine[3], labels=float(np.mean([r.rounds["labels_bought"].iloc[-1] for r in runs]))),
    }


def by_seed(seeds: Sequence[int], groups: dict[str, list[Run]]) -> list[Row]:
    """Return the values to compare, one row per variant and seed."""
    classic = groups["classic"]
    curves = {v: (areas(runs, classic), areas(classic, runs)) for v, runs in groups.items() if has_curve(runs[0])}
    none = [None] * len(seeds)
    return [
        {
            "contender": variant,
            "seed": seed,
            "area": mine,
            "area of classic": theirs,
            "last accuracy": last_accuracy(run),
            "TFLOP": bill(run)[2] / 1e12,
            "seconds": bill(run)[3],
        }
        for variant, runs in groups.items()
        for seed, run, mine, theirs in zip(seeds, runs, *curves.get(variant, (none, none)), strict=True)
    ]


def plot(path: Path, title: str, groups: dict[str, list[Run]]) -> None:
    """Plot mean test accuracy against cumulative FLOPs.

    The plot shows classic, the saver, and classic with one policy each.
    """
    figure = Figure(figsize=(8.6, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_prop_cycle(color=OTHER_COLORS)
    for variant, runs in groups.items():
        if variant.startswith("saver,") or not has_curve(runs[0]):
            continue
        flops = [np.cumsum([row.method.total_flops for row in run.rows]) for run in runs]
        length = min(map(len, flops))
        x = np.mean([f[:length] for f in flops], axis=0) / 1e12
        y = np.mean([100 * run.rounds["test_accuracy"].to_numpy()[:length] for run in runs], axis=0)
        strong = {"classic": "#7F7F7F", "saver": "#D55E00"}.get(variant)
        axes.plot(
            x, y, marker="o", ms=3, lw=2.4 if strong else 1.0, label=variant, color=strong, zorder=3 if strong else 2
        )
    axes.set_xscale("log")
    axes.set_xlabel("TFLOP of training and scoring so far (log)")
    axes.set_ylabel("Test accuracy (%)")
    axes.set_title(f"{title}: each point is a round, mean over seeds", loc="left", fontsize=11)
    axes.grid(color="0.9", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    save(figure, path)


if __name__ == "__main__":
    sys.exit(main())
