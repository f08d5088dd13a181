"""Replay stopping rules on recorded campaigns.

    python benchmarks/stopping_rules.py runs/compute_saving
    python benchmarks/stopping_rules.py runs/compute_saving --label 0.05 --gpu-hour 1 --accuracy-point 5 25

For each rule, the tables show the end, the loss and the saving. The command reads all finished runs below the folders
and trains nothing. It writes dated tables as CSV and README.md to benchmarks/results/, over all runs of a data set and
by recipe, which is the folder above the seeds. Rules of the stop set are replayed on runs that recorded their
predictions.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from harness import Row
from record import RESULTS, dated, facts_now, print_table, write_part, write_readme
from rich.console import Console

from dal.analysis import find_runs, read_run
from dal.costs.prices import PricesConfig
from dal.errors import DalError
from dal.runs.reader import NoRoundsError, Run
from dal.runs.round import Round
from dal.stopping import CampaignConfig, replay
from dal.stopping.replay import Outcome, outcome

Rule = tuple[str, CampaignConfig, PricesConfig | None]

ABOUT = """Each rule is evaluated after every round of every campaign on the rounds so far. It stops at the first
round at which it holds. `labels` is the median number of labels bought by then. A campaign that the rule never stops
counts with all its labels, and `never` is the number of these campaigns. The points lost are the difference between
the test accuracy at the stop and that of the best round of the same campaign. The row "to the end" shows which part
of this is noise between rounds. The shares saved are means over the runs, relative to running to the end. Target and
plateau monitor the test accuracy."""
PARTS = {
    "by_data": "All finished runs of a data set together.",
    "by_recipe": "Finished runs by recipe, the folder above the runs of several seeds.",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="folders with run folders in them, at any depth")
    parser.add_argument("--targets", nargs="+", type=float, default=[0.8, 0.9, 0.95], help="accuracies, from 0 to 1")
    parser.add_argument("--label", type=float, default=0.05, help="price of a label")
    parser.add_argument("--gpu-hour", type=float, default=1.0, help="price of a device hour; here also for a CPU")
    parser.add_argument("--kwh", type=float, help="price of a kWh, for runs that measured energy")
    parser.add_argument(
        "--accuracy-point", nargs="+", type=float, default=[5.0, 25.0], help="value of one point of accuracy"
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    prices = [
        PricesConfig(label=options.label, gpu_hour=options.gpu_hour, kwh=options.kwh, accuracy_point=worth)
        for worth in options.accuracy_point
    ]
    # Recorded before writing, because results make the working tree dirty.
    facts = facts_now(label=options.label, gpu_hour=options.gpu_hour, kwh=options.kwh)
    try:
        runs = finished(find_runs(options.runs))
    except DalError as error:
        print(error, file=sys.stderr)
        return 2
    if not runs:
        print("No finished run with a test accuracy below these folders.", file=sys.stderr)
        return 2
    cases: dict[str, dict[str, list[Run]]] = {part: {} for part in PARTS}
    for run in runs:
        cases["by_data"].setdefault(run.data, []).append(run)
        cases["by_recipe"].setdefault(recipe(run, options.runs), []).append(run)
    target = dated(options.results, "stopping_rules")
    asked = rules(options.targets, prices)
    for part, groups in cases.items():
        rows = [row for case in sorted(groups) for row in table(case, groups[case], asked)]
        if part == "by_data":
            print_table(Console(), "Stopping rules", rows)
        write_part(target, part, rows, facts | {"runs": sum(map(len, groups.values()))})
    write_readme(target, "Replayed stopping rules", ABOUT, PARTS)
    print(f"Written: {target}")
    return 0


def rules(targets: Sequence[float], prices: Sequence[PricesConfig]) -> list[Rule]:
    """Return names and settings in the order of the table."""
    return [
        ("to the end", CampaignConfig(), None),
        *((f"target {t:g}", CampaignConfig(target=t), None) for t in targets),
        *((f"plateau, {r} rounds", CampaignConfig(plateau_rounds=r), None) for r in (2, 3, 5)),
        *((f"kappa {k:g} over 3", CampaignConfig(kappa=k), None) for k in (0.9, 0.95, 0.99)),
        *((f"change at most {100 * c:g} %", CampaignConfig(max_change=c), None) for c in (0.0, 0.01, 0.05)),
        *((f"uncertainty at most {u:g}", CampaignConfig(max_uncertainty=u), None) for u in (0.1, 0.05, 0.01)),
        *((f"cost optimum, {p.accuracy_point:g} a point", CampaignConfig(cost_optimum=True), p) for p in prices),
    ]


def finished(folders: Iterable[Path]) -> list[Run]:
    """Return the finished runs with a test accuracy."""
    runs = []
    for folder in folders:
        try:
            run = read_run(folder)
        except NoRoundsError:
            continue
        if run.finished and "test_accuracy" in run.rounds:
            runs.append(run)
    return runs


def recipe(run: Run, tops: Sequence[Path]) -> str:
    """Return the folders between the command-line folder and the run folder."""
    top = next(t for t in tops if run.path.is_relative_to(t))
    name = run.path.relative_to(top).parent.as_posix()
    return name if name != "." else run.data


def table(case: str, runs: Sequence[Run], asked: Sequence[Rule]) -> list[Row]:
    """Return one row per rule whose inputs these runs recorded."""
    journals = [run.rows for run in runs]
    return [
        summary(case, name, outcomes)
        for name, config, prices in asked
        if (outcomes := [outcome(rows, replay(config, rows, prices)) for rows in journals if has(rows, config)])
    ]


def has(rows: Sequence[Round], config: CampaignConfig) -> bool:
    """Whether all rounds recorded the inputs of the rule."""
    predictions = config.kappa is not None or config.max_change is not None
    return all(
        (not predictions or row.get("stop_predictions"))
        and (config.max_uncertainty is None or "stop_uncertainty" in row)
        for row in rows
    )


def summary(case: str, rule: str, outcomes: Sequence[Outcome]) -> Row:
    lost = [o.points_lost for o in outcomes]
    flops = [o.flops_saved for o in outcomes if o.flops_saved is not None]
    return {
        "case": case,
        "rule": rule,
        "runs": len(outcomes),
        "never": sum(o.stopped is None for o in outcomes),
        "labels": float(np.median([o.labels for o in outcomes])),
        "points_lost_mean": float(np.mean(lost)),
        "points_lost_max": max(lost),
        "labels_saved_share": float(np.mean([o.labels_saved for o in outcomes])),
        "flops_saved_share": float(np.mean(flops)) if flops else None,
    }


if __name__ == "__main__":
    sys.exit(main())
