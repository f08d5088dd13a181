"""Label efficiency: acquisition functions against random, paired by seed, on real images.

    python benchmarks/label_efficiency.py digits
    python benchmarks/label_efficiency.py fashion_mnist --set data.max_train=5000

Runs what is missing of the grid (a run that was cut off goes on), then writes a dated table, the summary as CSV and the
learning curves to benchmarks/results/. Every run is ``dal run`` in a process of its own with one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from dal.environment import environment
from dal.report import report

HERE = Path(__file__).parent
FUNCTIONS = ("random", "margin", "bald", "badge")
CAMPAIGN = ["campaign.initial_size=100", "campaign.query_size=100", "campaign.budget=1000"]
CAMPAIGN += ["compute=early_stopping", "training.max_updates=600"]  # functions differ, not how a round is paid for


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", help="an experiment of configs/experiment, such as digits or fashion_mnist")
    parser.add_argument("--functions", nargs="+", default=list(FUNCTIONS), metavar="NAME[:KEY=VALUE]")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="overrides for all runs")
    parser.add_argument("--seeds", type=int, default=5, help="seeds 0 to SEEDS - 1")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs at a time")
    parser.add_argument("--runs", type=Path, default=Path("runs/label_efficiency"), help="where the run folders are")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    options = parser.parse_args()

    grid = [(function, seed) for seed in range(options.seeds) for function in options.functions]
    folders = [
        options.runs / options.experiment / f.replace(":", "_").replace("=", "") / f"seed{seed}" for f, seed in grid
    ]
    commands = [
        [
            "run",
            f"experiment={options.experiment}",
            *CAMPAIGN,
            *options.set,
            *chosen(f),
            f"seed={s}",
            f"run_dir={folder}",
        ]
        for (f, s), folder in zip(grid, folders, strict=True)
    ]
    # Before anything is written, so that the commit is told as it was.
    facts = environment() | {"command": shlex.join(["python", "benchmarks/label_efficiency.py", *sys.argv[1:]])}
    facts |= {"threads_a_run": 1, "runs_at_a_time": options.jobs, "seeds": list(range(options.seeds))}
    started = time.perf_counter()
    with ThreadPoolExecutor(options.jobs) as jobs:
        failed = [command for command, ok in zip(commands, jobs.map(run, commands), strict=True) if not ok]
    if failed:
        print(f"{len(failed)} of {len(commands)} runs failed; start the command again to resume them.")
        return 1

    target = options.results / f"label_efficiency_{options.experiment}_{datetime.now(UTC):%Y-%m-%d}"
    console = Console(record=True, width=110)
    report(folders, target, console)
    facts |= {"runs": len(commands), "commits_of_the_runs": commits(folders)}
    facts |= {"minutes_of_this_call": round((time.perf_counter() - started) / 60, 1)}
    write_results(target, console.export_text(), facts)
    print(f"Written: {target}")
    return 0


def chosen(function: str) -> list[str]:
    """``bald:num_draws=100`` as overrides."""
    name, _, parameter = function.partition(":")
    return [f"acquisition={name}", *([f"acquisition.{parameter}"] if parameter else [])]


def run(command: list[str]) -> bool:
    """One campaign in a process of its own; its last words where it fails."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-m", "dal", *command], env=environment, capture_output=True, text=True)
    print(f"{'done' if done.returncode == 0 else 'FAILED'}: dal {' '.join(command)}", flush=True)
    if done.returncode:
        print(done.stderr[-2000:], file=sys.stderr, flush=True)
    return done.returncode == 0


def commits(folders: list[Path]) -> list[str]:
    """Where the code stood when the runs were started; a run made earlier is not made again."""
    starts = [(folder / "environment.jsonl").read_text(encoding="utf-8").splitlines()[0] for folder in folders]
    return sorted({json.loads(start)["git_commit"] for start in starts})


def write_results(target: Path, text: str, facts: dict[str, object]) -> None:
    """The table with everything needed to make it again."""
    table = text.partition("The learning curve is ")[0].rstrip()
    lines = ["# Label efficiency", "", "```text", table, "```", "", "![Learning curves](learning_curve.png)", ""]
    lines += ["```json", json.dumps(facts, indent=1), "```", ""]
    (target / "README.md").write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
