"""Compare the training step of dal, a round, and the start of a run with hand-written code.

    python benchmarks/training_step.py            # all parts, about 10 minutes on one core
    python benchmarks/training_step.py update     # one part: update, round or start
    python benchmarks/training_step.py --before FOLDER    # also measures another version, in a checkout of it
    python benchmarks/training_step.py --quick    # tiny sizes for a quick check; writes below runs/

Each part writes a CSV to benchmarks/results/training_step_DATE. Times are CPU time on one thread, because ratios of CPU
times tolerate a busy machine. Contenders take turns in one process. Commands and other versions of dal run in others.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import record
import training_step_cases
import training_step_starts
from harness import Row, console, limited_to

PARTS: dict[str, tuple[Callable[..., list[Row]], str]] = {
    "update": (
        training_step_cases.updates,
        "One optimizer update on 300 labeled images in memory, in batches of 64, with Adam: two rounds of different "
        "length, and the difference of their times over that of their updates. The floor is a loop in plain PyTorch "
        "over the same images, augmentation and network. Like dal, it checks each loss, and averages the weights of "
        "the last half. Lightning is its Trainer with a minimal module, a DataLoader of whole batches, epochs "
        "of one pass, and neither logger, check nor average. dal is `fit()` with the logs of `dal run`.",
    ),
    "round": (
        training_step_cases.rounds,
        "A round of one update on digits: ask for 20 of 1,297 points by margin, tell, train and test on 500 images. "
        "The floor does it by hand in plain PyTorch: new weights, one update, the test, the scores of the pool.",
    ),
    "start": (
        training_step_starts.starts,
        "`dal run experiment=digits` and parts of it, each in a new process, from its start. The time of composing "
        "leaves out the imports. Hydra alone composes the same files without checks of the settings.",
    ),
}
ABOUT = (
    "CPU time on one thread; medians over repeats in which the contenders take turns. `to floor` is the ratio of "
    "medians to the first contender of the same case."
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; default: all")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--before", type=Path, help="folder of another version of dal")
    parser.add_argument("--quick", action="store_true", help="tiny sizes")
    parser.add_argument("--results", type=Path, help="folder of the results (default: benchmarks/results)")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"unknown part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    usual = record.QUICK_RESULTS if options.quick else record.RESULTS
    folder = record.dated(options.results or usual, "training_step")
    for part in options.parts or PARTS:
        measured, _ = PARTS[part]
        with limited_to(1), _before(options.before, part) as before:
            rows = measured(options.repeats, options.quick, before)
        facts = record.facts_now(repeats=options.repeats, threads=1, quick=options.quick)
        record.print_table(console(), f"{part}, {options.repeats} repeats", rows)
        record.write_part(folder, part, rows, facts)
    record.write_readme(folder, "Training step", ABOUT, {name: text for name, (_, text) in PARTS.items()})
    print(f"Written: {folder}")
    return 0


@contextmanager
def _before(folder: Path | None, part: str) -> Iterator[tuple[str, Path | Callable[[str], float]] | None]:
    """Yield the name of another version, and its folder or its worker."""
    if folder is None:
        yield None
        return
    found = subprocess.run(["git", "-C", str(folder), "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    name = f"dal, {found.stdout.strip() or folder.name}"
    with nullcontext(folder) if part == "start" else _worker(folder) as measured:
        yield name, measured


@contextmanager
def _worker(folder: Path) -> Iterator[Callable[[str], float]]:
    script = Path(__file__).with_name("training_step_worker.py")
    environment = os.environ | {"PYTHONPATH": str(folder.resolve()), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, str(script)], text=True, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        orders, answers = process.stdin, process.stdout

        def seconds(order: str) -> float:
            orders.write(f"{order}\n")
            orders.flush()
            return float(answers.readline())

        yield seconds


if __name__ == "__main__":
    sys.exit(main())
