"""Compare dal with a hand-written loop and baal on one whole experiment.

    pip install -e '.[peers]'                     # baal; skipped if it is not installed
    python benchmarks/one_experiment.py           # 5 seeds, about an hour on 2 cores
    python benchmarks/one_experiment.py --contenders by_hand dal_classic dal_saver
    python benchmarks/one_experiment.py --quick   # tiny sizes for a quick check; writes below runs/

The experiment uses Fashion-MNIST with a pool of 5,000, 100 initial labels, five queries of 100, BALD with 20 draws, and
Adam. It tests on 10,000 images after each round. Each contender runs in a separate process, and contenders take turns
by seed. Finished runs are read from runs/one_experiment; --again repeats them. An interrupted contender starts over, so
its time is that of a whole run. Run the command on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import peers
import record
from experiment_contenders import Settings
from harness import Row, console

from dal.analysis.statistics.curves import area_under_curve, paired_difference
from dal.runs.files.atomic import write_text

Result = dict[str, Any]

# 20 epochs are 20 / 32 updates per label, rounded up to whole batches. A hand-written epoch ends with a smaller batch,
# so it takes 5 % more updates on the same images.
CLASSIC = [
    "compute=classic",
    "training.warm_start=scratch",
    "training.monitor=none",
    "training.min_updates=0",
    "training.updates_per_label={epochs_over_batch}",
]
SAVER = ["compute=saver"]
DAL = [
    "experiment=fashion_mnist",
    "data.max_train={pool}",
    "acquisition=bald",
    "acquisition.num_draws={draws}",
    "campaign.initial_size={initial}",
    "campaign.query_size={query}",
    "campaign.budget={budget}",
    "training.batch_size={batch_size}",
    "model.lr={lr}",
]
QUICK = Settings(pool=300, initial=20, query=20, rounds=2, epochs=3, draws=4)

TITLES = {
    "by_hand": "floor, hand-written",
    "dal_classic": "dal, classic",
    "dal_saver": "dal, saver",
    "baal_caching": "baal, MCCachingModule",
    "baal": "baal, as documented",
}
PHASES = ("train", "score", "test")
ABOUT = """Fashion-MNIST, {pool:,} images in the pool, {initial} labels and {rounds} x {query} more, BALD with {draws}
draws, Adam {lr:g}, batches of {batch_size}, {epochs} epochs per round (dal's saver chooses its own training length), a
test on 10,000 images after each round. All contenders train dal's SmallCNN (two convolutions and a dense layer, after
LeNet; dropout 0.25 and 0.5) on the same initial set, with random horizontal flips. The hand-written loop, dal's classic
recipe and baal reset the weights every round: the hand-written loop and dal to the same new weights of that round, baal
to its initial weights.

`median s` is the time after imports and loading. For dal, it covers all work of `dal run`, including the run folder,
logs and learning curve. `process s` is the whole process; all contenders import dal for the images and the network. `to
floor` is the median over the seeds of the ratio to the hand-written loop of the same seed, run in turns. Other columns
with this suffix are paired differences, in points, with 95 % t intervals. `area` is the mean height of the learning
curve. GFLOP exclude the test; they count multiplications and additions of matrix products and convolutions."""
PARTS = {
    "time": "Medians over seeds. Selection counts as score, and work outside all phases, such as logs, as other.",
    "accuracy": "Means over seeds after the last round. GFLOP and updates are totals over all rounds.",
    "seeds": "All runs, with their accuracies after each round.",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="seeds 0 to SEEDS - 1")
    parser.add_argument("--contenders", nargs="+", choices=list(TITLES), default=list(TITLES))
    parser.add_argument("--peer-seeds", type=int, help="fewer seeds for baal, which is slow")
    parser.add_argument(
        "--threads", type=int, default=os.cpu_count() or 1, help="threads per process (default: all cores)"
    )
    parser.add_argument("--again", action="store_true", help="repeat finished runs")
    parser.add_argument("--quick", action="store_true", help="tiny sizes")
    parser.add_argument("--runs", type=Path, default=Path("runs/one_experiment"), help="folder of the runs")
    parser.add_argument("--results", type=Path, help="folder of the results (default: benchmarks/results)")
    options = parser.parse_args()
    settings = QUICK if options.quick else Settings()
    runs = options.runs.with_name(f"{options.runs.name}_quick") if options.quick else options.runs
    contenders = [c for c in TITLES if c in options.contenders and (not c.startswith("baal") or peers.has("baal"))]
    facts = record.facts_now(settings=asdict(settings), seeds=options.seeds, threads=options.threads)

    results: dict[str, dict[int, Result]] = {contender: {} for contender in contenders}
    for seed in range(options.seeds):
        for contender in contenders:
            few = options.peer_seeds if contender.startswith("baal") else None
            if few is not None and seed >= few:
                continue
            folder = runs / contender / f"seed{seed}"
            result = None if options.again else finished(folder, settings, options.threads)
            if result is None:
                result = run(contender, settings, seed, folder, options.threads)
            if result is None:
                return 1
            results[contender][seed] = result
            print(
                f"seed {seed}, {TITLES[contender]}: {result['seconds']:.1f} s, {accuracy(result):.3f}",
                flush=True,
            )
    every = [result for by_seed in results.values() for result in by_seed.values()]
    facts["commits_of_the_runs"] = sorted({str(result["commit"]) for result in every})
    facts["overrides"] = {name: overrides(name, settings) for name in contenders if name.startswith("dal")}

    usual = record.QUICK_RESULTS if options.quick else record.RESULTS
    folder = record.dated(options.results or usual, "one_experiment")
    tables = {
        "time": [times(contender, results) for contender in contenders],
        "accuracy": [accuracies(contender, results) for contender in contenders],
        "seeds": seed_rows(results),
    }
    record.plot_bars(folder / "time.png", "One whole experiment: seconds by contender", tables["time"])
    for part, rows in tables.items():
        record.write_part(folder, part, rows, facts)
        if part != "seeds":
            record.print_table(console(), f"One experiment, {options.seeds} seeds: {part}", rows)
    record.write_readme(folder, "One whole experiment", ABOUT.format(**asdict(settings)), PARTS)
    print(f"Written: {folder}")
    return 0


def finished(folder: Path, settings: Settings, threads: int) -> Result | None:
    """Return the result of a finished run with these settings, or None."""
    path = folder / "result.json"
    if not path.exists():
        return None
    result: Result = json.loads(path.read_text(encoding="utf-8"))
    same = result["settings"] == asdict(settings) and result["threads"] == threads
    return result if same and "process_seconds" in result else None


def run(contender: str, settings: Settings, seed: int, folder: Path, threads: int) -> Result | None:
    """Run a contender in a new process and folder.

    If it fails, the function prints the end of its errors and returns None.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    order = {"kind": contender, "settings": asdict(settings), "seed": seed, "folder": str(folder)}
    if contender.startswith("dal"):
        order["overrides"] = overrides(contender, settings)
    script = Path(__file__).with_name("experiment_contenders.py")
    # This also limits the thread pools of the libraries.
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, str(script), json.dumps(order)], env=environment, capture_output=True, text=True
    )
    seconds = time.perf_counter() - started
    write_text(folder / "output.txt", done.stdout + done.stderr)
    if done.returncode:
        print(f"FAILED: {contender}, seed {seed}:\n{done.stderr[-2000:]}", file=sys.stderr, flush=True)
        return None
    path = folder / "result.json"
    result: Result = json.loads(path.read_text(encoding="utf-8")) | {"process_seconds": seconds}
    write_text(path, json.dumps(result, indent=1) + "\n")
    return result


def overrides(contender: str, settings: Settings) -> list[str]:
    values = asdict(settings) | {"budget": settings.labels[-1]}
    values["epochs_over_batch"] = settings.epochs / settings.batch_size
    recipe = CLASSIC if contender == "dal_classic" else SAVER
    return [override.format(**values) for override in [*DAL, *recipe]]


def times(contender: str, results: dict[str, dict[int, Result]]) -> Row:
    mine, floor = results[contender], results.get("by_hand", {})
    runs = list(mine.values())
    seconds = [result["seconds"] for result in runs]
    ratios = [mine[seed]["seconds"] / floor[seed]["seconds"] for seed in mine if seed in floor]
    phases = {f"{name} s": statistics.median(r["phases"].get(name, 0.0) for r in runs) for name in PHASES}
    return {
        "contender": TITLES[contender],
        "seeds": len(runs),
        "median_s": statistics.median(seconds),
        "min_s": min(seconds),
        "max_s": max(seconds),
        "ratio": statistics.median(ratios) if ratios else None,
        **phases,
        "other s": max(0.0, statistics.median(seconds) - sum(phases.values())),
        "process s": statistics.median(result["process_seconds"] for result in runs),
    }


def accuracies(contender: str, results: dict[str, dict[int, Result]]) -> Row:
    mine, floor = results[contender], results.get("by_hand", {})
    runs, common = list(mine.values()), [seed for seed in mine if seed in floor]
    row: Row = {"contender": TITLES[contender], "seeds": len(runs), "labels": runs[0]["labels"][-1]}
    for name, measure in (("accuracy", accuracy), ("area", area)):
        row[name] = f"{100 * statistics.mean(map(measure, runs)):.2f} %"
        row[f"{name} to floor"] = difference([measure(mine[s]) for s in common], [measure(floor[s]) for s in common])
    for name, scale in (("flops", 1e9), ("updates", 1)):
        values = [result[name] / scale for result in runs if result.get(name)]
        row[{"flops": "gflop"}.get(name, name)] = statistics.mean(values) if values else None
    return row


def accuracy(result: Result) -> float:
    return float(result["accuracies"][-1])


def area(result: Result) -> float:
    return area_under_curve(result["labels"], result["accuracies"])


def difference(mine: Sequence[float], theirs: Sequence[float]) -> str | None:
    """Format the difference in percentage points with its interval.

    The result is None for the floor.
    """
    if not mine or mine == theirs:
        return None
    mean, half_width = paired_difference(mine, theirs)
    interval = f" ± {100 * half_width:.2f}" if math.isfinite(half_width) else ""  # one seed has none
    return f"{100 * mean:+.2f}{interval}"


def seed_rows(results: dict[str, dict[int, Result]]) -> list[Row]:
    return [
        {
            "contender": TITLES[contender],
            "seed": str(seed),
            "seconds": result["seconds"],
            "process s": result["process_seconds"],
            "labels": result["labels"][-1],
            "area": f"{100 * area(result):.2f} %",
            "gflop": result["flops"] / 1e9 if result.get("flops") else None,
            "test gflop": result["flops_test"] / 1e9 if result.get("flops_test") else None,
            "accuracies": " ".join(f"{100 * value:.2f}" for value in result["accuracies"]) + " %",
        }
        for contender, by_seed in results.items()
        for seed, result in by_seed.items()
    ]


if __name__ == "__main__":
    sys.exit(main())
