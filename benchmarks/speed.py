"""Compare the speed of dal with hand-written code and libraries.

    pip install -e '.[peers]'                     # baal, scikit-activeml
    pip install --no-deps small-text && pip install dill    # small-text; missing peers are skipped
    python benchmarks/speed.py                    # all parts, about 30 minutes on 2 cores
    python benchmarks/speed.py coreset --threads 1
    python benchmarks/speed.py --quick            # small sizes for a quick check; writes below runs/

Each part writes a CSV to benchmarks/results/speed_DATE, or images_DATE for crops, jpeg and cache. It updates the README
there for all parts of the day; the first part also writes a plot. Run the command on an idle machine: contenders take
turns, so ratios tolerate some noise, but seconds do not.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import before_worker
import image_cases
import record
import selection_cases
import speed_cases
from harness import console, measure

PARTS = {
    "scoring": (
        speed_cases.scoring_cases,
        "BALD on images, from loading to scores. The floor of the small network starts from a tensor, and runs the "
        "convolutions once and the other layers for all draws. The floor of ResNet-18, whose only dropout precedes the "
        "head, is one plain forward pass. The second floor has images and weights in channels-last layout. dal is "
        "`summarize_points` with its defaults and all overhead. baal is `predict_on_dataset` on a tensor, and its "
        "BALD.",
    ),
    "options": (
        speed_cases.option_cases,
        "The same work in dal, with one option of `scoring` changed at a time. The floor is dal with its defaults. "
        "Times include compilation, because a campaign compiles once per pass.",
    ),
    "coreset": (
        speed_cases.coreset_cases,
        "Greedy k-center with 1,000 labeled points. The float32 floor takes a matrix product for the labeled points "
        "and a matrix-vector product per pick. Its rounding may resolve near-ties differently from dal, whose picks "
        "are those of float64 differences.",
    ),
    "badge": (
        speed_cases.badge_cases,
        "k-means++ on gradients. The float32 floor takes two matrix-vector products per pick on the factors.",
    ),
    "batchbald": (
        speed_cases.batchbald_cases,
        "BatchBALD from precomputed draws. The float32 floor enumerates all points and all joint labels for every "
        "pick.",
    ),
    **image_cases.PARTS,
    "selection": (
        selection_cases.selection_cases,
        "Selection kernels. A note on picks compares them with the floor's. For ALFA-Mix, the numbers are those of "
        "mixes that change the prediction of a point; for linkage, those of clusters. For k-means, the first contender "
        "is scikit-learn in float64. DAL_BEFORE names a checkout of an earlier version, whose "
        "CPU time in another process is `dal before`. Its k-means and nearest points include the conversion to float64 "
        "that its selections made first.",
    ),
    "selection_large": (
        selection_cases.large_cases,
        "One run of a selection that takes a minute or more. Ratios are to dal.",
    ),
}
UNUSUAL = ("selection_large",)
ABOUT = (
    "Seconds are medians over repeats in which the contenders take turns; with one thread, they are CPU time. "
    "`to floor` is the ratio of medians to the "
    "hand-written floor of the same case. Extra MiB is the increase in peak resident memory of one run in a separate "
    "process."
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; default: all but {', '.join(UNUSUAL)}"
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", help="threads (default: all cores; coreset also with 1)")
    parser.add_argument("--no-memory", action="store_true", help="measure time only")
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--results", type=Path, help="folder of the results (default: benchmarks/results)")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"unknown part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")

    cores = os.cpu_count() or 1
    # Before the first part writes its result.
    shared = record.facts_now(repeats=options.repeats, seed=speed_cases.SEED, quick=options.quick)
    for part in options.parts or [part for part in PARTS if part not in UNUSUAL]:
        cases, _ = PARTS[part]
        name = "images" if part in image_cases.PARTS else "speed"
        folder = record.dated(options.results or (record.QUICK_RESULTS if options.quick else record.RESULTS), name)
        usual = {1, cores} if part == "coreset" and not options.quick else {1 if options.quick else cores}
        threads = options.threads or sorted(usual)
        facts = shared | {"threads": threads}
        if part in ("selection", "selection_large") and (before := before_worker.commit()):
            facts["before"] = before
        rows = []
        for count in threads:
            for case in cases(count, options.quick):
                rows += measure(case, options.repeats, not options.no_memory)
        record.print_table(console(), f"{part}, {options.repeats} repeats", rows)
        if record.pictured(folder, part):
            record.plot_bars(folder / f"{part}.png", f"{part}: seconds by contender", rows)
        record.write_part(folder, part, rows, facts)
        record.write_readme(folder, "Speed", ABOUT, {name: text for name, (_, text) in PARTS.items()})
        print(f"Written: {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
