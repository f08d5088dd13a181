"""Measure what it costs and gains that people go on while the model trains.

    python benchmarks/people.py
    python benchmarks/people.py --seeds 10 --more-seeds 30 --jobs 2
    python benchmarks/people.py --quick

Simulated people label digits and Fashion-MNIST on a virtual clock, with dal's leases, refit rules and acquisition
functions. Dated tables and a figure are written to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from harness import Row, console, limited_to
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from people_clock import Campaign, Strategy, Team, fit_seconds
from people_model import SETS, problem
from record import QUICK_RESULTS, RESULTS, dated, facts_now, print_table, save, write_part, write_readme

from dal.analysis.statistics.curves import area_under_curve, paired_difference

ROUNDS, ASYNC = "rounds of 20", "asynchronous"
STRATEGIES = {
    ROUNDS: Strategy(rounds=20),
    "rounds of 60": Strategy(rounds=60),
    ASYNC: Strategy(),
    "refit_growth=0": Strategy(refit_growth=0.0),
    "refit_labels=20": Strategy(refit_labels=20),
    "held images stay": Strategy(ranked_anew=False),
    "max_behind=0.1": Strategy(max_behind=0.1),
    "random keys": Strategy("keys"),
    "random": Strategy("random"),
}
LOW_RHO = 5  # up to here the thresholds apply
MOST_LOST = 0.5
ABOUT = """People label from 20 to 300 points. Each is a virtual person: log-normal seconds a label (median 2.5, sigma
0.5), a pause of 60 to 600 s in 5 % of the labels, 2 % skips, and 1 % wrong labels, which the person corrects 20 labels
later. rho is the mean number of labels that arrive during one fit and score. The seconds of a fit are chosen for it, by
campaigns with random picks on other seeds. The model is a ridge regression with an RBF kernel on pixels, whose quality
does not depend on the luck of a training. The pool has 1,297 points (digits) or 2,000 (Fashion-MNIST, drawn by the
seed), and the test set 500 or 2,000. Runs are paired by seed: the same initial labels, and the same series of seconds,
pauses, skips and errors of each person.

`asynchronous` has dal's defaults: it refits when 5 % of the labels are new, and a new ranking replaces the images that
people hold and do not yet see. The rows below it change one thing each. With `held images stay`, each person keeps the
8 images in hand. `max_behind=0.1` gives people labels of the test set while the ranking is more than 10 % of the labels
old. `random keys` is `acquisition=stochastic` on margin. All others but `random` use margin.

Areas are mean test accuracies, in percent, of models that train on the first labels in order of arrival. They judge
which points people labeled, and not how often dal trained. "a label" is over the labels that train. "a paid label" also
counts those of the test set. "an hour" is over the time until the rounds of 20 of the same seed end. Differences are to
the rounds of 20, in points, with half the width of the 95 % t interval of the pairs. `stale` is the mean number of
labels that arrived between the snapshot of a ranking and the answer for its point. `idle` is the percentage of people's
time in which they wait.

The thresholds were fixed before the runs: with rho at most 5, `asynchronous` leaves nobody idle (0 %), and its area a
label is at most 0.5 points below that of the rounds of 20."""
PARTS = {
    "threshold": "rho at most 5, with more seeds, for the thresholds. `worst_idle` is that of the worst seed. `holds` "
    "says whether the mean is within 0.5 points, and `settled` whether the whole interval is on one side.",
    "by_rho": "Means over 1, 3 and 10 people, also of the pairs. cells.csv has each number of people, and seeds.csv "
    "each run.",
}


@dataclass(frozen=True)
class Sizes:
    """How large the campaigns are."""

    annotators: tuple[int, ...] = (1, 3, 10)
    rhos: tuple[int, ...] = (1, 5, 20, 60)
    pool: int = 2000
    test: int = 2000
    initial: int = 20
    budget: int = 300
    fit_seeds: int = 10
    curve: tuple[int, ...] = (20, 30, 40, 50, 60, 80, 100, 130, 160, 200, 250, 300)


QUICK = Sizes((1, 3), (1, 20), 300, 200, 20, 60, 2, (20, 40, 60))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10, help="seeds 0 to SEEDS - 1 run everything")
    parser.add_argument("--more-seeds", type=int, default=30, help="seeds after them, for the thresholds alone")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--quick", action="store_true", help="small sizes and 2 seeds, to try it")
    parser.add_argument("--results", type=Path)
    options = parser.parse_args()
    sizes, seeds, more = (QUICK, 2, 1) if options.quick else (Sizes(), options.seeds, options.more_seeds)
    facts = facts_now(seeds=seeds, seeds_of_thresholds=seeds + more)
    teams = list(product(sizes.annotators, sizes.rhos))
    with ProcessPoolExecutor(options.jobs) if options.jobs > 1 else nullcontext() as jobs:
        each = jobs.map if jobs else map
        seconds = dict(zip(teams, each(partial(one_fit, sizes), teams), strict=True))
        facts["fit_seconds"] = {f"{k} people, rho {rho}": round(s, 2) for (k, rho), s in seconds.items()}
        cells = [(data, seed, seed < seeds) for seed in range(seeds + more) for data in SETS]
        runs = [run for found in each(partial(campaigns, sizes, seconds), cells) for run in found]
    target = dated(options.results or (QUICK_RESULTS if options.quick else RESULTS), "people")
    write(target, pd.DataFrame(runs), seeds, facts)
    print(f"Written: {target}")
    return 0


def one_fit(sizes: Sizes, team: tuple[int, int]) -> float:
    """Return the seconds of a fit of this team, from other seeds than those of the runs."""
    return fit_seconds(*team, sizes.initial, sizes.budget, range(1000, 1000 + sizes.fit_seeds))


def campaigns(sizes: Sizes, seconds: dict[tuple[int, int], float], cell: tuple[str, int, bool]) -> list[Row]:
    """Return a row per campaign of a data set and a seed; without ``everything``, only those of the thresholds."""
    data, seed, everything = cell
    rows = []
    with limited_to(1):
        case = problem(data, seed, sizes.pool, sizes.test)
        for (annotators, rho), fit in seconds.items():
            until = 0.0
            for name, strategy in STRATEGIES.items():
                if not everything and (rho > LOW_RHO or name not in (ROUNDS, ASYNC)):
                    continue
                campaign = Campaign(case, strategy, Team(annotators, fit), seed, sizes.initial, sizes.budget)
                found = campaign.run()
                at = [size - 1 for size in sizes.curve]
                curve = [case.accuracy(list(found.known[i]), list(found.known[i].values())) for i in at]
                times = np.array(found.seconds)[at]
                until = until or times[-1]  # the rounds of 20 come first
                rows.append(
                    {
                        "data": data,
                        "seed": seed,
                        "annotators": annotators,
                        "rho": rho,
                        "strategy": name,
                        "area": area_under_curve(sizes.curve, curve),
                        "area_paid": mean_height(np.array(found.paid)[at], curve, sizes.budget),
                        "area_hour": mean_height(times, curve, until),
                        "hours": times[-1] / 3600,
                        "idle": 100 * found.idle_share,
                        "stale": average(found.stale),
                        "measured_rho": average(found.arrived),
                        "fits": len(found.arrived),
                        "other_labels": found.paid[-1] - sizes.budget,
                    }
                )
    print(f"{data}, seed {seed}", flush=True)
    return rows


def average(values: Sequence[int]) -> float:
    return float(np.mean(values)) if values else 0.0


def mean_height(x: np.ndarray, y: Sequence[float], until: float) -> float:
    """Return the mean height of a curve from its first point to ``until``; after its last point it is level."""
    grid = np.linspace(x[0], until, 1001)
    return area_under_curve(grid, np.interp(grid, x, y))


def write(target: Path, runs: pd.DataFrame, seeds: int, facts: Row) -> None:
    few = runs[runs["seed"] < seeds]
    by_people = compared(few, ["data", "rho", "annotators"])
    means = few.groupby(["data", "rho", "strategy", "seed"], sort=False).mean(numeric_only=True).reset_index()
    by_rho = compared(means, ["data", "rho"])
    write_part(target, "threshold", thresholds(runs), facts)
    write_part(target, "by_rho", by_rho, facts)
    write_part(target, "cells", by_people, facts)
    write_part(target, "seeds", runs.to_dict("records"), facts)
    plot(target / "by_rho.png", by_rho)
    write_readme(target, "Labels that arrive while the model trains", ABOUT, PARTS)
    print_table(console(), "Thresholds", thresholds(runs))


def compared(runs: pd.DataFrame, keys: list[str]) -> list[Row]:
    """Return a row per strategy and group, compared with the rounds of 20 of the same seeds."""
    rows: list[Row] = []
    for values, group in runs.groupby(keys, sort=False):
        base = group[group["strategy"] == ROUNDS].set_index("seed")
        for name, mine in group.groupby("strategy", sort=False):
            mine = mine.set_index("seed").loc[base.index]
            named = dict(zip(keys, values, strict=True))
            case = ", ".join(f"rho {value}" if key == "rho" else f"{value}" for key, value in named.items())
            row: Row = {
                "case": case + " people" * ("annotators" in named),
                "contender": name,
                "area": mean(mine["area"]),
            }
            kinds = {"a label": "area", "a paid label": "area_paid", "an hour": "area_hour"}
            for text, column in kinds.items():
                row[text], row[f"± {text}"] = paired_difference(mine[column].tolist(), base[column].tolist())
            for column in ("hours", "idle", "stale", "measured_rho", "fits", "other_labels"):
                row[column] = mean(mine[column])
            rows.append(row)
    return rows


def thresholds(runs: pd.DataFrame) -> list[Row]:
    """Return a row per data set, number of people and rho up to 5, and one over all people."""
    low, rows = runs[(runs["rho"] <= LOW_RHO) & runs["strategy"].isin([ROUNDS, ASYNC])], []
    for (data, rho), group in low.groupby(["data", "rho"], sort=False):
        teams = [(str(k), part) for k, part in group.groupby("annotators")]
        for people, part in [*teams, ("all", group)]:
            areas = part.groupby(["strategy", "seed"])["area"].mean()
            difference, half = paired_difference(areas[ASYNC].tolist(), areas[ROUNDS].tolist())
            mine = part[part["strategy"] == ASYNC]
            row: Row = {"case": f"{data}, rho {rho}", "people": people, "area": float(areas[ASYNC].mean())}
            row |= {"a label": difference, "±": half, "seeds": len(areas[ASYNC])}
            row |= {"holds": "yes" if difference >= -MOST_LOST else "no"}
            row |= {"settled": "yes" if abs(difference + MOST_LOST) > half else "no"}
            row |= {"worst_idle": float(mine["idle"].max()), "measured_rho": mean(mine["measured_rho"])}
            rows.append(row | {"stale": mean(mine["stale"])})
    return rows


def mean(values: pd.Series) -> float:
    return float(values.mean())


SHOWN = {
    ASYNC: "#0072B2",
    "max_behind=0.1": "#009E73",
    "random keys": "#CC79A7",
    "rounds of 60": "#E69F00",
    "random": "#7F7F7F",
}


def plot(path: Path, rows: Sequence[Row]) -> None:
    """Plot the differences to the rounds of 20 against rho, by data set, and by label and hour."""
    kinds = {"a label": "area a label", "an hour": "area an hour"}
    figure = Figure(figsize=(9.2, 6.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(SETS), len(kinds), squeeze=False, sharex=True, sharey="col")
    for line, data in zip(axes, SETS, strict=True):
        for axis, (kind, text) in zip(line, kinds.items(), strict=True):
            for place, (name, color) in enumerate(SHOWN.items()):
                mine = [row for row in rows if row["contender"] == name and row["case"].startswith(f"{data},")]
                # A shift keeps the intervals apart.
                x = [float(row["case"].rpartition(" ")[2]) * 1.05 ** (place - 2) for row in mine]
                y, half = ([row[key] for row in mine] for key in (kind, f"± {kind}"))
                axis.errorbar(x, y, half, color=color, label=name, marker="o", markersize=4, linewidth=1.5, capsize=2)
            axis.axhline(0, color="0.2", linewidth=0.9)
            axis.set_xscale("log")
            ticks = sorted({float(row["case"].rpartition(" ")[2]) for row in rows})
            axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axis.minorticks_off()
            axis.set_title(f"{data}: {text}", loc="left", fontsize=10)
            axis.grid(axis="y", color="0.9", linewidth=0.8)
            axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[-1]:
        axis.set_xlabel("rho: labels that arrive during one fit and score", fontsize=9)
    for axis in axes[:, 0]:
        axis.set_ylabel("points above rounds of 20", fontsize=9)
    axes[0, 1].legend(fontsize=8.5, frameon=False)
    save(figure, path)


if __name__ == "__main__":
    sys.exit(main())
