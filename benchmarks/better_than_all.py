"""Find settings in which a campaign ends above the training on all labels of the pool, with less compute.

    python benchmarks/better_than_all.py --seeds 0-9                      # seeds for tuning
    python benchmarks/better_than_all.py --seeds 100-109 --processes 14   # the judged seeds
    python benchmarks/better_than_all.py --seeds 100-109 --judge          # reads finished runs only
    python benchmarks/better_than_all.py --settings noise --seeds 0-1 --quick

Three pools have labels that are not all worth training on: wrong ones, images outside the classes, and rare classes
(better_settings.py). For each seed, a campaign and a control buy a part of the labels, and the same network trains once
on the whole pool in several ways. FLOPs are those of the ledger without testing. Each run is one JSON file in
runs/better_than_all, and the command skips finished runs. Dated tables and a plot are written to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from better_settings import CAMPAIGN, CONTROL, QUICK, SETTINGS, WHOLE, run_arm, shortened
from harness import Row, console, limited_to
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from record import HERE, QUICK_RESULTS, RESULTS, dated, facts_now, print_table, save, write_part, write_readme

from dal.analysis import mean_and_interval, paired_difference
from dal.analysis.statistics.paired_tests import holm
from dal.runs.files.atomic import write_text

RUNS = HERE.parent / "runs" / "better_than_all"
LEVEL = 0.05
"""Hypothesis of each setting: the mean difference of campaign and whole pool is not 0, by an exact test of signs of the
paired differences, two-sided, with Holm's correction over the settings."""
LEAST_GAIN, MOST_FLOPS = 0.0, 1.0
"""A campaign is better at less compute if the difference is significant and above LEAST_GAIN points, and if its FLOPs
are below MOST_FLOPS of those of the whole pool, both as means over seeds."""

ABOUT = """A campaign, a control and trainings on the whole pool, paired by seed. All arms have the same network,
optimizer, batch size and augmentation. Scores are those on 500 test images of scikit-learn's digits: accuracy, and
balanced accuracy with rare classes. The training on the whole pool that the campaign has to beat is the one with the
highest mean score on the same seeds. Answers count each answer of a person, also a second one for the same image. FLOPs
are those of the ledger without testing. Those of linear heads are counted for 100 evaluations a fit, which is more than
they took."""
PARTS = {
    "verdicts": "Differences in points: campaign minus the best training on the whole pool, and minus the control. "
    "Intervals are 95 % t intervals over seeds. p-values are of exact two-sided tests of the signs of the paired "
    "differences. Holm's correction covers the settings.",
    "arms": "Means over seeds.",
    "runs": "All runs.",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", nargs="+", choices=[*SETTINGS], default=[*SETTINGS])
    parser.add_argument("--seeds", type=seeds_of, default=range(10), metavar="FIRST-LAST")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="runs at a time, one thread each")
    parser.add_argument("--judge", action="store_true", help="run nothing; read finished runs")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs; writes below runs/")
    parser.add_argument("--runs", type=Path, default=RUNS, help="folder of the runs")
    parser.add_argument("--results", type=Path, help="folder of the results (default: benchmarks/results)")
    options = parser.parse_args()
    facts = facts_now(seeds=[*options.seeds], threads_a_run=1, level=LEVEL, most_flops=MOST_FLOPS)
    runs = options.runs / "quick" if options.quick else options.runs
    cells = list(product(options.seeds, options.settings))
    if not options.judge:
        all_run(cells, runs, options.quick, options.processes)
    files = [kept(runs, setting, arm, seed) for seed, setting in cells for arm in SETTINGS[setting].arms]
    missing = [file for file in files if not file.exists()]
    if missing:
        print(f"{len(missing)} of {len(files)} runs are missing, such as {missing[0].name}; run without --judge.")
        return 1
    rows = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    facts["commits_of_the_runs"] = sorted({str(row.pop("commit")) for row in rows})
    target = dated(options.results or (QUICK_RESULTS if options.quick else RESULTS), "better_than_all")
    tables = {"verdicts": verdicts(rows), "arms": means(rows), "runs": rows}
    for part, table in tables.items():
        write_part(target, part, table, facts)
        if part != "runs":
            print_table(console(), part, table)
    plot(target / "verdicts.png", rows)
    write_readme(target, "Better than all the labels", ABOUT, PARTS)
    print(f"Written: {target}")
    return 0


def seeds_of(text: str) -> range:
    """Convert ``100-109`` to seeds."""
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def kept(runs: Path, setting: str, arm: str, seed: int) -> Path:
    """Return the file of a run. Other sizes or another arm are another run."""
    described = repr((SETTINGS[setting].sizes, SETTINGS[setting].arms[arm]))
    digest = hashlib.sha256(described.encode()).hexdigest()[:8]
    plain = "".join(letter if letter.isalnum() else "_" for letter in arm)
    return runs / f"{setting}-{plain}-{digest}-{seed}.json"


def all_run(cells: Sequence[tuple[int, str]], runs: Path, quick: bool, processes: int) -> None:
    """Run what is missing."""
    run = partial(one_cell, runs, quick, facts_now()["git_commit"])
    if processes == 1:
        for cell in cells:
            run(cell)
        return
    # A process that was forked after PyTorch started threads may hang.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as jobs:
        list(jobs.map(run, cells))


def one_cell(runs: Path, quick: bool, commit: str, cell: tuple[int, str]) -> None:
    """Run the missing arms of a setting with a seed."""
    seed, name = cell
    setting, problem = SETTINGS[name], None
    answers: dict[str, int] = {}
    sizes = QUICK if quick else setting.sizes
    for arm, spends in setting.arms.items():
        file = kept(runs, name, arm, seed)
        if not file.exists():
            with limited_to(1):
                problem = problem or setting.problem(seed)
                spends = shortened(spends) if quick else spends
                row = run_arm(problem, sizes, spends, seed, answers.get(spends.answers_of or ""))
            file.parent.mkdir(parents=True, exist_ok=True)
            write_text(file, json.dumps({"setting": name, "arm": arm, "seed": seed, **row, "commit": commit}))
            print(f"{name}, {arm}, seed {seed}", flush=True)
        answers[arm] = json.loads(file.read_text(encoding="utf-8"))["answers"]


def of(rows: Sequence[Row], setting: str, arm: str, key: str = "score") -> list[float]:
    """Return a number of the runs of an arm, by seed."""
    mine = [row for row in rows if (row["setting"], row["arm"]) == (setting, arm)]
    return [float(row[key]) for row in sorted(mine, key=lambda row: int(row["seed"]))]


def best_whole(rows: Sequence[Row], setting: str) -> str:
    """Return the training on the whole pool with the highest mean score."""
    return max(WHOLE, key=lambda arm: float(np.mean(of(rows, setting, arm))))


def sign_test(differences: Sequence[float]) -> float:
    """Return the exact two-sided p-value of the mean if the signs of the differences are random.

    >>> sign_test([1.0, 2.0, 3.0])
    0.25
    """
    sizes = np.abs(np.asarray(differences, dtype=np.float64))
    signs = np.array(list(product((-1.0, 1.0), repeat=len(sizes))))
    sums = np.abs(signs @ sizes)
    return float((sums >= abs(float(np.sum(differences))) - 1e-9).mean())


def verdicts(rows: Sequence[Row]) -> list[Row]:
    """Compare the campaign with the best training on the whole pool, and with the control."""
    lines: list[Row] = []
    for other in ("whole", CONTROL):
        found = []
        for setting in dict.fromkeys(row["setting"] for row in rows):
            theirs = best_whole(rows, setting) if other == "whole" else other
            mine, others = of(rows, setting, CAMPAIGN), of(rows, setting, theirs)
            gain, half = paired_difference(mine, others)
            shares = np.divide(of(rows, setting, CAMPAIGN, "flops"), of(rows, setting, theirs, "flops"))
            share, share_half = mean_and_interval(shares.tolist())
            found.append(
                {
                    "note": setting,
                    "against": theirs,
                    "seeds": len(mine),
                    "campaign": float(np.mean(mine)),
                    "other": float(np.mean(others)),
                    "difference": gain,
                    "±": float(half),
                    "above": sum(a > b for a, b in zip(mine, others, strict=True)),
                    "below": sum(a < b for a, b in zip(mine, others, strict=True)),
                    "p": sign_test([a - b for a, b in zip(mine, others, strict=True)]),
                    "FLOPs ratio": share,
                    "± ratio": float(share_half),
                    "answers ratio": float(
                        np.mean(of(rows, setting, CAMPAIGN, "answers")) / np.mean(of(rows, setting, theirs, "answers"))
                    ),
                }
            )
        for line, p in zip(found, holm([line["p"] for line in found]).tolist(), strict=True):
            line["p, Holm"] = p
            line["verdict"] = verdict(line) if other == "whole" else None
        lines += found
    return lines


def verdict(line: Row) -> str:
    """Say whether the campaign is better at less compute, by the constants above."""
    if line["p, Holm"] >= LEVEL:
        return "not told apart"
    if line["difference"] <= LEAST_GAIN:
        return "below"
    return "above, at less compute" if line["FLOPs ratio"] < MOST_FLOPS else "above, at more compute"


def means(rows: Sequence[Row]) -> list[Row]:
    """Return one row per setting and arm."""
    lines = []
    for setting, arm in dict.fromkeys((row["setting"], row["arm"]) for row in rows):
        score, half = mean_and_interval(of(rows, setting, arm))
        numbers = {key: float(np.mean(of(rows, setting, arm, key))) for key in ("accuracy", "answers", "images")}
        flops, seconds = (float(np.mean(of(rows, setting, arm, key))) for key in ("flops", "seconds"))
        lines.append(
            {
                "case": setting,
                "contender": arm,
                "score": score,
                "±": float(half),
                **numbers,
                "gflop": flops / 1e9,
                "s": seconds,
            }
        )
    return lines


def plot(path: Path, rows: Sequence[Row]) -> None:
    """Plot mean scores, one panel per setting and one line per arm, with the mean FLOPs beside its name."""
    settings = list(dict.fromkeys(row["setting"] for row in rows))
    figure = Figure(figsize=(4.8 * len(settings), 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    for axis, setting in zip(figure.subplots(1, len(settings), squeeze=False)[0], settings, strict=True):
        flops = {arm: float(np.mean(of(rows, setting, arm, "flops"))) / 1e9 for arm in SETTINGS[setting].arms}
        arms = sorted(flops, key=lambda arm: -flops[arm])
        for line, arm in enumerate(arms):
            score, half = mean_and_interval(of(rows, setting, arm))
            color = {CAMPAIGN: "#D55E00", CONTROL: "#0072B2"}.get(arm, "#7F7F7F")
            axis.errorbar(score, line, xerr=half, fmt="o", color=color, capsize=3)
        axis.set_yticks(
            range(len(arms)), [f"{arm.removeprefix('whole pool, ')}: {flops[arm]:.0f}" for arm in arms], fontsize=8
        )
        axis.set_title(f"{setting}: arm and its GFLOP", loc="left", fontsize=10)
        axis.set_xlabel("test score, mean and 95 % interval")
        axis.grid(axis="x", color="0.9", linewidth=0.8)
        axis.spines[["top", "right"]].set_visible(False)
    save(figure, path)


if __name__ == "__main__":
    sys.exit(main())
