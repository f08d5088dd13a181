"""Measure what the detectors of `dal explain` find in campaigns whose truth is known, and how often they are wrong.

    python benchmarks/diagnosis.py --jobs 2                     # digits, 20 runs a variant, about 2 hours on 2 cores
    python benchmarks/diagnosis.py --data fashion_mnist --seeds 5 --jobs 2
    python benchmarks/diagnosis.py --variants clean twins --seeds 2 --quick

Each run is a campaign with margin and a small CNN that goes on from its last weights. Its data, its labels or its
network are changed in a known way (diagnosis_cases.py). The detectors read the records of the run and nothing else. The
thresholds are those of dal/analysis/diagnosis/thresholds.py, which are committed before the runs. Finished runs are in
runs/benchmarks/diagnosis, and the same command continues. Dated tables are written to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from diagnosis_cases import VARIANTS, Problem, run_problem
from harness import Row, console, limited_to
from record import HERE, QUICK_RESULTS, RESULTS, dated, facts_now, print_table, write_part, write_readme

from dal.analysis.diagnosis.detectors import DETECTORS
from dal.analysis.diagnosis.finding import Detected
from dal.analysis.diagnosis.history import History
from dal.analysis.diagnosis.read import read_history

DONE = HERE.parent / "runs" / "benchmarks" / "diagnosis"
FIRST_SEED = 8000
"""Seeds of the runs. Thresholds were looked at on other seeds."""
ALARMS = ("learned", "forgetting", "merge", "ran_out", "stall", "suspects", "queries", "onset", "stability", "capacity")
"""Detectors whose findings in a clean run are false, except true claims about the pool and queries that helped."""
ABOUT = """Campaigns whose data, labels or network are changed in a known way, and clean ones. Digits: 15 rounds of 20
labels, margin, a small CNN with the settings of compute=saver. Fashion-MNIST: 15 rounds of 50 of 6,000 images, 2,000
test images. The detectors read the records of a run. Seeds are new: the thresholds were fixed before, in
dal/analysis/diagnosis/thresholds.py."""
PARTS = {
    "targets": "What was required, what came, and whether it holds.",
    "clean": "False findings in clean runs by detector, and runs without any.",
    "runs": "One row per run.",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits", choices=["digits", "fashion_mnist"])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--variants", nargs="+", choices=[*VARIANTS], default=[*VARIANTS])
    parser.add_argument("--quick", action="store_true", help="write below runs/")
    parser.add_argument("--results", type=Path)
    options = parser.parse_args()
    facts = facts_now(seeds=[FIRST_SEED, FIRST_SEED + options.seeds - 1], data=options.data)
    cells = [(options.data, variant, seed) for seed in range(options.seeds) for variant in options.variants]
    with ProcessPoolExecutor(options.jobs) as jobs:
        rows = list(jobs.map(partial(one_run, facts["git_commit"]), cells))
    target = dated(options.results or (QUICK_RESULTS if options.quick else RESULTS), f"diagnosis_{options.data}")
    runs = pd.DataFrame(rows)
    write_part(target, "targets", targets(runs), facts)
    if (runs["variant"] == "clean").any():
        write_part(target, "clean", false_findings(runs), facts)
    write_part(target, "runs", rows, facts)
    write_readme(target, f"What the detectors of dal explain find: {options.data}", ABOUT, PARTS)
    print_table(console(), "Targets", targets(runs))
    print(f"Written: {target}")
    return 0


def one_run(commit: str, cell: tuple[str, str, int]) -> Row:
    """Run a campaign and its detectors, or read what an earlier call found with the same commit."""
    data, variant, number = cell
    kept = DONE / commit[:12] / f"{data}-{variant}-{number}.json"
    if kept.exists():
        row: Row = json.loads(kept.read_text(encoding="utf-8"))
        return row
    seed = FIRST_SEED + number
    folder = Path(tempfile.mkdtemp())
    try:
        with limited_to(1):
            problem = VARIANTS[variant](data, seed)
            left = run_problem(data, problem, seed, folder / "run")
            row = {"data": data, "variant": variant, "seed": seed, **judged(problem, left, folder / "run")}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(row), encoding="utf-8")
    print(f"{variant}, seed {seed}", flush=True)
    return row


def judged(problem: Problem, left: Sequence[Sequence[int]], folder: Path) -> Row:
    """Return what each detector says, next to the truth."""
    history = read_history(folder)
    found = {key: detect(history) for key, detect in DETECTORS.items()}
    truth, last = problem.truth, history.recorded[-1]
    row: Row = {"accuracy": 100 * float(history.right[last].mean()), "truth": json.dumps(truth)}
    row |= {f"found_{key}": len(one.findings) for key, one in found.items()}
    row |= pool_claims(found["ran_out"], left, truth)
    merged = [sorted(one.classes) for one in found["merge"].findings]
    row["pairs"] = len(merged)
    row["false_pairs"] = sum(pair != truth.get("twins") for pair in merged)
    row["twins_found"] = truth.get("twins") in merged if "twins" in truth else None
    row |= lost_class(found["learned"], history, truth)
    harmful = [one.round for one in found["queries"].findings if one.numbers.get("z", 0) and one.numbers["z"] >= 3.5]
    row["harmful"] = len(harmful)
    row["poison_found"] = truth["poison"] in harmful if "poison" in truth else None
    row |= suspects(found["suspects"], history, problem)
    jumps = [(one.round, str(one.numbers.get("layer"))) for one in found["stability"].findings if one.round is not None]
    row["jump_found"] = (
        (truth["jump"], truth["layer"]) in [(a, b.removesuffix(".weight")) for a, b in jumps]
        if "jump" in truth
        else None
    )
    row["narrow"] = any("effective_rank" in one.numbers for one in found["capacity"].findings)
    tails = [str(one.numbers["layer"]) for one in found["capacity"].findings if "later_layers" in one.numbers]
    row["tail_after"] = tails[0] if tails else ""
    row["onset_found"] = bool(found["onset"].findings)
    if "collect" in truth:
        first = found["collect"].tables["collect"]["class"].tolist()[:3]
        row["collect_found"] = sorted(int(one) for one in first) == truth["collect"]
    row["false_headlines"] = sum(false_in_clean(key, found[key], row) for key in ALARMS) if not truth else None
    for key in ALARMS:
        row[f"false_{key}"] = false_in_clean(key, found[key], row) if not truth else None
    return row


def false_in_clean(key: str, detected: Detected, row: Row) -> int:
    if key == "ran_out":
        return int(row["false_claims"] > 0)
    if key == "queries":
        return int(row["harmful"] > 0)
    return int(bool(detected.findings))


def pool_claims(detected: Detected, left: Sequence[Sequence[int]], truth: dict[str, Any]) -> Row:
    """Compare each claim about the pool with its true labels."""
    table = detected.tables.get("pool", pd.DataFrame(columns=["round", "class", "claim"]))
    claims = table[table["claim"].isin(["ran out", "few"])]
    false = 0
    for number, of_class in zip(claims["round"], claims["class"], strict=True):
        counts = np.array(left[int(number)])
        false += counts[int(of_class)] / max(counts.sum(), 1) >= 0.02
    row: Row = {"claims": len(claims), "false_claims": int(false), "gone_found": None, "gone_delay": None}
    gone = truth.get("dry", truth.get("rare"))
    if gone is None:
        return row
    shares = [counts[gone] / max(sum(counts), 1) for counts in left]
    # A share just below the limit of 2 % is not to be told from one above it.
    start = next((number for number, share in enumerate(shares) if share < 0.01 and number > 0), None)
    at = claims.loc[claims["class"] == gone, "round"]
    at = at[at >= (start or 0)]
    row["gone_found"] = len(at) > 0
    row["gone_delay"] = float(at.min() - start) if len(at) and start is not None else None
    return row


def lost_class(detected: Detected, history: History, truth: dict[str, Any]) -> Row:
    """Whether the class that was renamed is called lost, and how many rounds later."""
    row: Row = {"lost_events": 0, "lost_found": None, "lost_delay": None, "was_learned": None}
    changes = detected.tables.get("changes")
    if changes is None:
        return row
    lost = changes[changes["event"] == "lost"]
    row["lost_events"] = len(lost)
    if "lost" not in truth:
        return row
    mine = changes[changes["class"] == truth["lost"]]
    learned = mine[mine["event"] == "learned"]
    row["was_learned"] = bool(len(learned) and learned["round"].min() < truth["from"])
    after = mine[(mine["event"] == "lost") & (mine["round"] >= truth["from"])]
    row["lost_found"] = len(after) > 0
    row["lost_delay"] = float(after["round"].min() - truth["from"]) if len(after) else None
    return row


def suspects(detected: Detected, history: History, problem: Problem) -> Row:
    """Return the precision of the ten most suspicious labels, and whether any is shown."""
    row: Row = {"suspects_shown": len(detected.tables.get("suspects", [])), "precision10": None}
    ranking = detected.tables.get("ranking")
    if "noise" not in problem.truth or ranking is None or not len(ranking):
        return row
    top = ranking.sort_values("rank").head(10)
    told = {int(i): int(label) for i, label in zip(history.trained[-1].index, history.trained[-1].label, strict=True)}
    wrong = [told[int(index)] != int(problem.train.labels[int(index)]) for index in top["index"]]
    row["precision10"] = float(np.mean(wrong))
    return row


def targets(runs: pd.DataFrame) -> list[Row]:
    """Return a row per requirement."""
    rows: list[Row] = []

    def add(
        what: str,
        required: str,
        variant: str,
        count: Callable[[pd.DataFrame], float],
        holds: Callable[[float], bool],
        shown: str = "",
    ) -> None:
        mine = runs[runs["variant"].isin(variant.split())]
        if not len(mine):
            return
        value = count(mine)
        rows.append(
            {
                "finding": what,
                "variant": variant,
                "runs": len(mine),
                "required": required,
                "measured": shown.format(value) if shown else f"{value:g}",
                "holds": "yes" if holds(value) else "no",
            }
        )

    def share(column: str) -> Callable[[pd.DataFrame], float]:
        return lambda mine: float(mine[column].astype(float).mean())

    percent = "{:.0%}"
    add(
        "a lost class, of those learned before",
        ">= 95 %",
        "renamed",
        lambda m: float(m.loc[m["was_learned"].eq(True), "lost_found"].astype(float).mean()),
        lambda v: v >= 0.95,
        percent,
    )
    add(
        "its mean delay, rounds",
        "<= 4",
        "renamed",
        lambda m: float(m["lost_delay"].astype(float).mean()),
        lambda v: v <= 4,
        "{:.1f}",
    )
    add("two classes that are one", ">= 18/20", "twins", share("twins_found"), lambda v: v >= 0.9, percent)
    others = " ".join(one for one in VARIANTS if one != "twins")
    add("false pairs a run", "<= 0.01", others, share("false_pairs"), lambda v: v <= 0.01, "{:.3f}")
    for variant in ("dry", "rare"):
        add("a class that the pool ran out of", ">= 95 %", variant, share("gone_found"), lambda v: v >= 0.95, percent)
        add(
            "its largest delay, rounds",
            "<= 2",
            variant,
            lambda m: float(m["gone_delay"].astype(float).max()),
            lambda v: v <= 2,
            "{:.0f}",
        )
    add(
        "false claims about the pool, of all",
        "<= 1 %",
        " ".join(VARIANTS),
        lambda m: float(m["false_claims"].sum() / max(m["claims"].sum(), 1)),
        lambda v: v <= 0.01,
        "{:.2%}",
    )
    add("a harmful query", ">= 85 %", "poison", share("poison_found"), lambda v: v >= 0.85, percent)
    add("onset with 10 % wrong labels", ">= 18/20", "overfit10", share("onset_found"), lambda v: v >= 0.9, percent)
    add("onset with 20 % wrong labels", ">= 18/20", "overfit20", share("onset_found"), lambda v: v >= 0.9, percent)
    add("onset without wrong labels", "<= 1/20", "overfit_clean", share("onset_found"), lambda v: v <= 0.05, percent)
    for variant in ("noise10", "noise20"):
        add("precision of ten suspects", ">= 0.9", variant, share("precision10"), lambda v: v >= 0.9, "{:.2f}")
    add("a layer that was made new", "10/10", "new_layer", share("jump_found"), lambda v: v >= 1, percent)
    for variant in ("width1", "width2", "width4"):
        add("a network that is too narrow", "20/20", variant, share("narrow"), lambda v: v >= 1, percent)
    add("a wide network called narrow", "0/20", "width32 clean", share("narrow"), lambda v: v <= 0, percent)
    near = {"backbone.conv2", "backbone.blocks.0.conv", "backbone.blocks.1.conv"}
    add(
        "added blocks, within one",
        ">= 8/10",
        "deep",
        lambda m: float(m["tail_after"].isin(near).mean()),
        lambda v: v >= 0.8,
        percent,
    )
    add(
        "layers of a plain network",
        "0",
        "clean",
        lambda m: float((m["tail_after"] != "").mean()),
        lambda v: v <= 0,
        percent,
    )
    add("the three rare classes first", ">= 8/10", "collect", share("collect_found"), lambda v: v >= 0.8, percent)
    for row in false_findings(runs):
        add(
            f"clean runs with a false finding: {row['detector']}",
            "<= 1/20",
            "clean",
            lambda m, key=row["detector"]: float((m[f"false_{key}"].astype(float) > 0).mean()),
            lambda v: v <= 0.05,
            percent,
        )
    add(
        "clean runs without a false finding",
        ">= 17/20",
        "clean",
        lambda m: float((m["false_headlines"].astype(float) == 0).mean()),
        lambda v: v >= 0.85,
        percent,
    )
    return rows


def false_findings(runs: pd.DataFrame) -> list[Row]:
    mine = runs[runs["variant"] == "clean"]
    if not len(mine):
        return []
    return [
        {"detector": key, "runs": len(mine), "false": int((mine[f"false_{key}"].astype(float) > 0).sum())}
        for key in ALARMS
        if f"false_{key}" in mine
    ]


if __name__ == "__main__":
    sys.exit(main())
