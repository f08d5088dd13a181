"""Compare the training step of dal, a round, and the start of a run with hand-written code.

    python benchmarks/training_step.py            # all parts, about 10 minutes on one core
    python benchmarks/training_step.py update     # one part: update, round or start
    python benchmarks/training_step.py --quick    # tiny sizes for a quick check; writes below runs/

Each part writes a CSV to benchmarks/results/training_step_DATE. Times are CPU time on one thread, because ratios of CPU
times tolerate a busy machine. Contenders take turns in one process, except for commands, which need a new process.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import record
import training_step_cases
from harness import console, limited_to

PARTS = {
    "update": (
        training_step_cases.updates,
        "One optimizer update on 300 labeled images in memory, in batches of 64, with Adam: two rounds of different "
        "length, and the difference of their times over that of their updates. The floor is a loop in plain "
        "PyTorch over the same images, augmentation and network. Lightning is its Trainer with a minimal module, a "
        "DataLoader of whole batches, epochs of one pass and no logger. dal is `fit()` with the logs of `dal run`.",
    ),
    "round": (
        training_step_cases.rounds,
        "A round of one update on digits: ask for 20 of 1,297 points by margin, tell, train and test on 500 images. "
        "The floor does it by hand in plain PyTorch: new weights, one update, the test, the scores of the pool.",
    ),
    "start": (
        training_step_cases.starts,
        "Parts of `dal run experiment=digits` around its rounds, each in a new process. The floor imports PyTorch, "
        "Lightning and Hydra.",
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
    parser.add_argument("--quick", action="store_true", help="tiny sizes")
    parser.add_argument("--results", type=Path, help="folder of the results (default: benchmarks/results)")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"unknown part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    usual = record.QUICK_RESULTS if options.quick else record.RESULTS
    folder = record.dated(options.results or usual, "training_step")
    for part in options.parts or PARTS:
        measured, _ = PARTS[part]
        with limited_to(1):
            rows = measured(options.repeats, options.quick)
        record.print_table(console(), f"{part}, {options.repeats} repeats", rows)
        record.write_part(folder, part, rows, record.facts_now(repeats=options.repeats, threads=1, quick=options.quick))
    record.write_readme(folder, "Training step", ABOUT, {name: text for name, (_, text) in PARTS.items()})
    print(f"Written: {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
