"""Compare one training on all of Fashion-MNIST with dal's saver.

    python benchmarks/full_data.py                # seeds 0 to 2, margin and BALD
    python benchmarks/full_data.py --seeds 5 --functions margin --jobs 1
    python benchmarks/full_data.py --functions margin --recipes saver long_saver
    python benchmarks/full_data.py --quick        # tiny sizes for a quick check; writes below runs/

For each seed, the small CNN trains once on all 60,000 labels. The campaign trains and scores the pool of 60,000 until
it reaches 99 % of that accuracy or has bought 15,000 labels. Each ``dal run`` is a separate process with one thread,
and FLOPs are those of the ledger. The command runs missing runs, resumes interrupted ones, and writes a table and a
plot to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate, product
from pathlib import Path

import record
from campaigns import commits, run
from harness import Row, console
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dal.runs.files.state import read_state
from dal.runs.journal import committed_rounds
from dal.runs.round import Round

Rows = list[Round]

SHARE = 0.99
"""The fraction of the accuracy with all labels at which a campaign ends."""

# Validation uses at most 2,048 points (dal.training.fit.MAX_CHECKED); more would only cost labels.
# In epochs of 58,000 images: a check every half epoch, patience of three, at most 40.
SIZES = {"pool": 60_000, "validation": 2_000, "budget": 15_000, "check": 453, "patience": 2_718, "most": 36_240}
SIZES["first"] = 500  # labels of the first sets of long_saver
QUICK = {"pool": 600, "validation": 100, "budget": 300, "check": 20, "patience": 60, "most": 200, "first": 20}
FULL = [
    "compute=early_stopping",  # its keys are all set below, except candidates=all
    "acquisition=random",
    "campaign.initial_size={rest}",
    "campaign.validation_size={validation}",
    "campaign.budget={pool}",
    "campaign.max_rounds=1",
    "campaign.stop_set_size=0",
    "training.warm_start=scratch",
    "training.monitor=val_loss",
    "training.min_updates=0",
    "training.max_updates={most}",
    "training.check_every={check}",
    "training.patience={patience}",
]
BUDGET = "campaign.budget={budget}"
RECIPES = {
    "saver": ["compute=saver", BUDGET],
    "long_saver": ["compute=long_saver", BUDGET, "campaign.initial_size={first}", "campaign.query_size={first}"],
}
"""The overrides of campaigns, by the name of the preset."""
# Both use the model, optimizer, batch size (64) and augmentation of the experiment.
BOTH = ["experiment=fashion_mnist", "data.max_train={pool}"]

FULL_NAME = "all labels, once"
ABOUT = """The results compare one training of the small CNN on all labels of Fashion-MNIST with whole campaigns of
`compute=saver` or `compute=long_saver`. The training stops early on the loss of 2,000 of the labels. A campaign ends at
99 % of the accuracy of the training with the same seed, or at 15,000 labels. Accuracies are those on the 10,000 test
images. The end of a campaign depends on the same images, because the comparison has no other reference. TFLOP are those
of the ledger without testing: training, validation, scoring of the pool, selection and the stop set. `TFLOP to best`
excludes the part of the training on all labels after its best update, which early stopping cannot predict. `of FLOPs to
best` compares a campaign with this number, which is the stricter comparison."""
PARTS = {
    "accuracy": "Means over seeds. `reached` counts the runs that reached 99 %. Seconds are those of one thread.",
    "spent": "Means over seeds. TFLOP includes selection, which no phase includes.",
    "seeds": "All runs.",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0 to SEEDS - 1")
    parser.add_argument("--functions", nargs="+", default=["margin", "bald"], metavar="NAME")
    parser.add_argument("--recipes", nargs="+", default=["saver"], choices=list(RECIPES), help="presets")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="overrides for the campaigns")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs at a time, one thread each")
    parser.add_argument("--quick", action="store_true", help="tiny sizes")
    parser.add_argument("--runs", type=Path, default=Path("runs/full_data"), help="folder of the runs")
    parser.add_argument("--results", type=Path, help="folder of the results (default: benchmarks/results)")
    options = parser.parse_args()
    sizes = QUICK if options.quick else SIZES
    runs = options.runs.with_name(f"{options.runs.name}_quick") if options.quick else options.runs
    seeds = range(options.seeds)
    facts = record.facts_now(sizes=sizes, share=SHARE, threads_a_run=1, runs_at_a_time=options.jobs, seeds=list(seeds))

    folders = {(FULL_NAME, seed): runs / "full" / f"seed{seed}" for seed in seeds}
    if not all_run([command(FULL, sizes, seed, folders[FULL_NAME, seed]) for seed in seeds], options.jobs):
        return 1
    orders = []
    for seed in seeds:
        target = SHARE * journal(folders[FULL_NAME, seed])[-1]["test_accuracy"]
        for recipe, function in product(options.recipes, options.functions):
            place = runs / function if recipe == "saver" else runs / recipe / function
            folder = folders[f"dal {recipe}, {function}", seed] = place / f"seed{seed}"
            more = [f"acquisition={function}", f"campaign.target={target:.6f}", *options.set]
            orders.append(command([*RECIPES[recipe], *more], sizes, seed, folder))
    if not all_run(orders, options.jobs):
        return 1
    facts["commits_of_the_runs"] = commits(list(folders.values()))
    facts["overrides"] = {"all labels": filled([*BOTH, *FULL], sizes)}
    facts["overrides"] |= {name: filled([*BOTH, *RECIPES[name]], sizes) for name in options.recipes}

    journals = {key: journal(folder) for key, folder in folders.items()}
    rows = [one_row(name, seed, rows, journals[FULL_NAME, seed]) for (name, seed), rows in journals.items()]
    usual = record.QUICK_RESULTS if options.quick else record.RESULTS
    folder = record.dated(options.results or usual, "full_data")
    plot(folder / "accuracy.png", journals)
    tables = {
        "accuracy": means(rows, RESULT),
        "spent": means(rows, [*SPENT, "rounds", "updates"]),
        "seeds": [in_words(row) for row in rows],
    }
    for part, table in tables.items():
        record.write_part(folder, part, table, facts)
        if part != "seeds":
            record.print_table(console(), f"All labels against campaigns, {options.seeds} seeds: {part}", table)
    record.write_readme(folder, "All labels against campaigns", ABOUT, PARTS)
    print(f"Written: {folder}")
    return 0


def filled(overrides: list[str], sizes: dict[str, int]) -> list[str]:
    return [o.format(**sizes, rest=sizes["pool"] - sizes["validation"]) for o in overrides]


def command(overrides: list[str], sizes: dict[str, int], seed: int, folder: Path) -> list[str]:
    return ["run", *filled([*BOTH, *overrides], sizes), f"seed={seed}", f"run_dir={folder}"]


def all_run(commands: list[list[str]], jobs: int) -> bool:
    with ThreadPoolExecutor(jobs) as pool:
        done = list(pool.map(run, commands))
    if not all(done):
        print(f"{done.count(False)} of {len(done)} runs failed; run the command again to resume them.")
    return all(done)


def journal(folder: Path) -> Rows:
    return committed_rounds(folder, read_state(folder))


def spent(row: Round) -> int:
    """Return the FLOPs of a round without testing."""
    return row.method.total_flops


def of(rows: Rows, phase: str) -> int:
    return sum(row.cost([phase]).total_flops for row in rows)


def one_row(name: str, seed: int, rows: Rows, full: Rows) -> Row:
    """Compare a run with the training on all labels.

    Both have the same seed. Shares are in percent.
    """
    (reference,) = full
    last, flops, is_full = rows[-1], sum(map(spent, rows)), name == FULL_NAME
    share = last["test_accuracy"] / reference["test_accuracy"]
    whole = spent(reference)
    to_best = whole * reference["best_update"] / reference["updates"]
    return {
        "contender": name,
        "seed": seed,
        "labels": last["labels_bought"],
        "accuracy": 100 * last["test_accuracy"],
        "of full accuracy": 100 * share,
        "reached": int(share >= SHARE),
        "tflop": flops / 1e12,
        "of full flops": 100 * flops / whole if whole else None,
        "tflop to best": to_best / 1e12 if is_full else None,
        "of flops to best": 100 * flops / to_best if to_best and not is_full else None,
        **{f"tflop {phase}": of(rows, phase) / 1e12 for phase in ("train", "validate", "score", "stop", "test")},
        "rounds": len(rows),
        "updates": sum(row["updates"] for row in rows),
        "seconds": sum(row.cost().seconds for row in rows),
        "stopped": last["training_stopped" if is_full else "campaign_stopped"],
    }


PERCENT = ("accuracy", "of full accuracy", "of full flops", "of flops to best")
RESULT = (*PERCENT[:2], "reached", "labels", "tflop", *PERCENT[2:], "seconds")
SPENT = ("tflop", "tflop to best", *(f"tflop {p}" for p in ("train", "validate", "score", "stop", "test")))


def means(rows: list[Row], names: Sequence[str]) -> list[Row]:
    """Return one row per contender with the means of these columns.

    ``reached`` is the number of runs that reached the share instead.
    """
    made = []
    for contender in dict.fromkeys(row["contender"] for row in rows):
        group = [row for row in rows if row["contender"] == contender]
        mean: Row = {"contender": contender, "seeds": len(group)}
        for name in names:
            values = [row[name] for row in group if row[name] is not None]
            mean[name] = None if not values else sum(values) if name == "reached" else float(statistics.mean(values))
        made.append(in_words(mean))
    return made


def in_words(row: Row) -> Row:
    """Format percentages with two decimals."""
    return {k: f"{v:.2f} %" if k in PERCENT and v is not None else v for k, v in row.items()}


def plot(path: Path, journals: dict[tuple[str, int], Rows]) -> None:
    """Plot accuracy against FLOPs and labels.

    Lines are campaigns, and dots are trainings on all labels.
    """
    figure = Figure(figsize=(9.6, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    by_flops, by_labels = figure.subplots(1, 2, sharey=True)
    names = list(dict.fromkeys(name for name, _ in journals))
    colors = dict(zip(names, ["#7F7F7F", "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7"], strict=False))
    for (name, seed), rows in journals.items():
        accuracy = [100 * row["test_accuracy"] for row in rows]
        flops = [total / 1e12 for total in accumulate(map(spent, rows))]
        labels = [row["labels_bought"] for row in rows]
        for axis, x in ((by_flops, flops), (by_labels, labels)):
            if name == FULL_NAME:
                axis.plot(x, accuracy, "o", color=colors[name], label=name if not seed else None)
                axis.axhline(SHARE * accuracy[-1], color=colors[name], linewidth=0.7, linestyle=":")
            else:
                axis.plot(x, accuracy, ".-", color=colors[name], linewidth=1.1, markersize=4, alpha=0.8)
                axis.lines[-1].set_label(name if not seed else None)
    _dress(by_flops, "TFLOP so far, training and scoring")
    _dress(by_labels, "labels bought (log)")
    by_labels.set_xscale("log")
    by_labels.xaxis.set_major_formatter("{x:,.0f}")
    by_labels.xaxis.set_minor_formatter("")
    by_flops.set_ylabel("test accuracy, %")
    by_flops.legend(fontsize=8, frameon=False, loc="lower right")
    figure.suptitle(f"All labels once against campaigns; dotted: {SHARE:.0%} of its accuracy", x=0.01, ha="left")
    record.save(figure, path)


def _dress(axis: Axes, label: str) -> None:
    axis.set_xlabel(label)
    axis.grid(color="0.9", linewidth=0.8)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    sys.exit(main())
