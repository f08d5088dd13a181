"""Compare regions with whole images in segmentation, by pixels and by clicks.

    python benchmarks/segmentation.py --seeds 100-109 --processes 14
    python benchmarks/segmentation.py --seeds 100-109 --judge       # reads the runs and writes the results
    python benchmarks/segmentation.py --seeds 0-1 --quick           # tiny sizes for a quick check; writes below runs/

All contenders buy masks of experiment=scenes in 10 rounds, and train in the same way. Seeds are paired. One more
training has all masks and as many updates as a campaign. Each ``dal run`` is a separate process with
one thread. The command runs missing runs and resumes interrupted ones, so the same command continues. Once all runs are
there, it judges the targets of segmentation_targets.py, and writes tables and curves to a dated folder of
benchmarks/results/.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path

import campaigns
import record
from harness import Row, console
from segmentation_targets import (
    AXES,
    FULL,
    IMAGE_RANDOM,
    MARGIN,
    REGION_ENTROPY,
    REGION_RANDOM,
    STRATIFIED,
    Curves,
    against,
    curves_of,
    judged,
)

from dal.analysis import NoRoundsError, Run, is_run, read_run
from dal.analysis.statistics.curves import mean_and_interval
from dal.reports.drawing import save as save_figure
from dal.reports.overview.learning_curve import curves_figure
from dal.runs.files.atomic import write_text

ROUNDS, UPDATES = 10, 300
SIZES = {"initial": 320, "query": 320, "rounds": ROUNDS, "updates": UPDATES}
SIZES |= {"initial_images": 50, "query_images": 50, "all": 1000}
QUICK = {"initial": 20, "query": 20, "rounds": 3, "updates": 4}
QUICK |= {"initial_images": 2, "query_images": 2, "all": 30}
QUICK_DATA = ["data.train_size=30", "data.test_size=10"]

EVERY = [
    "experiment=scenes",
    "data.items=fashion_mnist",  # an error without them, in place of digits
    "campaign.max_rounds={rounds}",
    "model.dropout=0.1",
    "model.schedule=cosine",
    "model.class_weights=[0.3,1,1,1,1]",  # 83 % of the pixels are background
    "training.min_updates={updates}",
    "training.max_updates={updates}",
]
BUYING = ["campaign.query_size={query}", "campaign.initial_size={initial}", "campaign.budget=1000000"]
REGIONS = [*BUYING, "campaign.unit=region"]
IMAGES = [
    *BUYING,
    "campaign.unit=image",
    "campaign.initial_size={initial_images}",
    "campaign.query_size={query_images}",
]
CONTENDERS = {
    REGION_RANDOM: [*REGIONS, "acquisition=random"],
    REGION_ENTROPY: [*REGIONS, "acquisition=entropy"],
    STRATIFIED: [*REGIONS, "acquisition=stratified", "acquisition.score=entropy"],
    "region random_foreground": [*REGIONS, "acquisition=random_foreground"],
    IMAGE_RANDOM: [*IMAGES, "acquisition=random"],
    FULL: [
        "acquisition=random",
        "campaign.unit=image",
        "campaign.initial_size={all}",
        "campaign.query_size=1",
        "campaign.budget={all}",
        "training.min_updates={total}",
        "training.max_updates={total}",
        "training.average=0.05",  # of as many updates as in a campaign
    ],
}
"""The overrides of each contender, after EVERY. The last of two overrides of a key counts."""

ABOUT = f"""Campaigns on the 1,000 scenes of `experiment=scenes` (32x32 pixels, 5 classes; 400 test scenes). The first
labels and each query are {SIZES["query"]} regions of 8x8 pixels, which is 2 % of the pixels, or {SIZES["query_images"]}
whole images, which need about as many clicks as regions chosen at random. There are {ROUNDS} rounds, each with
{UPDATES} updates that go on from the last weights. `{FULL}` is one training with all masks and {ROUNDS * UPDATES}
updates. All contenders have the same network, loss, augmentation and number of updates, and runs are paired by seed.
`{STRATIFIED}` follows ClaSP-PE (arXiv:2601.13677) with dal's defaults: power noise that decays, and two thirds of the
query by predicted class. mIoU is in percent, on whole test images. Intervals are 95 %: t intervals over seeds, except
those of shares, which are bootstrap intervals. The targets were fixed before the runs. Settings were chosen on seeds 0
and 1."""
PARTS = {
    "targets": f"""What was required, what came, and whether it holds. A share is the cost at which the mean curve
reaches the last mIoU of `{REGION_RANDOM}`, as a part of what that costs. `p` is that of the paired t-test at equal
cost, after Holm's correction over this table. For `{STRATIFIED}` the test is one-sided, with a margin of {MARGIN:g}
points of mean mIoU over the clicks that both have.""",
    "clicks": """All contenders by clicks. mIoU and clicks are those of the last round. Differences are those of the
mean mIoU over the clicks that both contenders have, paired by seed, in points. Bold ones are significant (5 %,
two-sided paired t-test, Holm's correction over the column). CPU seconds are those of a whole run.""",
    "pixels": """The same by pixels.""",
    "seeds": "All runs, after their last round.",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=seeds_of, default=seeds_of("0-9"), metavar="FIRST-LAST")
    parser.add_argument("--processes", type=int, default=1, help="runs at a time, one thread each")
    parser.add_argument("--contenders", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS), metavar="NAME")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="start no run after these minutes")
    parser.add_argument("--judge", action="store_true", help="read the runs, without running any")
    parser.add_argument("--quick", action="store_true", help="tiny sizes")
    parser.add_argument("--root", type=Path, help="folder of the four files of Fashion-MNIST (default: data.root)")
    parser.add_argument("--runs", type=Path, default=Path("runs/segmentation"), help="folder of the runs")
    parser.add_argument("--results", type=Path, help="folder of the results (default: benchmarks/results)")
    options = parser.parse_args()
    runs = options.runs.with_name(f"{options.runs.name}_quick") if options.quick else options.runs
    # Recorded before writing, because results make the working tree dirty.
    facts = record.facts_now(seeds=options.seeds, threads_a_run=1, runs_at_a_time=options.processes)
    cells = list(product(options.seeds, options.contenders))
    if not options.judge:
        run_missing(cells, runs, options)
    missing = [folder_of(runs, *reversed(cell)) for cell in cells if not is_done(folder_of(runs, *reversed(cell)))]
    if missing:
        print(f"{len(missing)} of {len(cells)} runs are not finished, such as {missing[0]}. Give the command again.")
        return 1
    if len(options.contenders) < len(CONTENDERS):
        print("The targets are judged with all contenders.")
        return 0
    usual = record.QUICK_RESULTS if options.quick else record.RESULTS
    target = judge(runs, options.seeds, facts, options.results or usual)
    print(f"Written: {target}")
    return 0


def seeds_of(text: str) -> list[int]:
    """Return the seeds of a range.

    >>> seeds_of("3-5"), seeds_of("7")
    ([3, 4, 5], [7])
    """
    first, _, last = text.partition("-")
    seeds = list(range(int(first), int(last or first) + 1))
    if not seeds:
        raise argparse.ArgumentTypeError(f"seeds: expected FIRST-LAST, such as 100-109, got {text!r}.")
    return seeds


def folder_of(runs: Path, contender: str, seed: int) -> Path:
    return runs / contender.replace(" ", "_") / f"seed{seed}"


def command_of(contender: str, seed: int, runs: Path, sizes: dict[str, int]) -> list[str]:
    """Return the words of ``dal run`` after ``dal``."""
    given = [o.format(**sizes, total=sizes["rounds"] * sizes["updates"]) for o in [*EVERY, *CONTENDERS[contender]]]
    overrides = {override.partition("=")[0]: override for override in given}
    return ["run", *overrides.values(), f"seed={seed}", f"run_dir={folder_of(runs, contender, seed)}"]


def is_done(folder: Path) -> bool:
    run = run_in(folder)
    return run is not None and run.finished


def run_in(folder: Path) -> Run | None:
    """Return the run in a folder, or None without a finished round."""
    try:
        return read_run(folder) if is_run(folder) else None
    except NoRoundsError:
        return None


def run_missing(cells: Iterable[tuple[int, str]], runs: Path, options: argparse.Namespace) -> None:
    """Run or resume the runs that are not finished, seed by seed."""
    end = time.monotonic() + 60 * options.minutes
    more = [*(QUICK_DATA if options.quick else []), *([f"data.root={options.root}"] if options.root else [])]
    left = [(contender, seed) for seed, contender in cells if not is_done(folder_of(runs, contender, seed))]
    start = partial(run_one, runs=runs, sizes=QUICK if options.quick else SIZES, more=more, end=end)
    if options.processes == 1:
        for cell in left:
            start(cell)
        return
    with ProcessPoolExecutor(options.processes) as pool:
        list(pool.map(start, left))


def run_one(cell: tuple[str, int], runs: Path, sizes: dict[str, int], more: Sequence[str], end: float) -> None:
    """Run one campaign, and append the CPU seconds of its process to a file next to the runs of the contender."""
    contender, seed = cell
    if time.monotonic() > end:
        return
    folder = folder_of(runs, contender, seed)
    run, started = run_in(folder), os.times()
    if campaigns.run([*command_of(contender, seed, runs, sizes), *more]):
        # The process of this function waits for one campaign at a time, so its children are that campaign.
        ended = os.times()
        seconds = ended.children_user + ended.children_system - started.children_user - started.children_system
        write_text(cpu_file(folder), json.dumps({"cpu_seconds": seconds, "resumed": run is not None}) + "\n")


def cpu_file(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}_cpu.json")


def cpu_seconds(folder: Path) -> float | None:
    """Return the CPU seconds of a campaign, or None if it was resumed after its first round."""
    if not cpu_file(folder).exists():
        return None
    found = json.loads(cpu_file(folder).read_text(encoding="utf-8"))
    return None if found["resumed"] else float(found["cpu_seconds"])


def judge(runs: Path, seeds: Sequence[int], facts: Row, results: Path) -> Path:
    """Write tables and curves, and print whether the targets hold. Returns the folder."""
    folders = {name: [folder_of(runs, name, seed) for seed in seeds] for name in CONTENDERS}
    every = [folder for group in folders.values() for folder in group]
    facts |= {"commits_of_the_runs": campaigns.commits(every), "first_run_started": campaigns.first_start(every)}
    first = {name: environment_of(group[0]) for name, group in folders.items()}
    facts["overrides"] = {name: overrides_in(found.pop("command")) for name, found in first.items()}
    facts["environment_of_the_runs"] = first[REGION_RANDOM]
    by_axis = {axis: {name: curves_of(group, axis) for name, group in folders.items()} for axis in AXES}
    cpu = {name: [cpu_seconds(folder) for folder in group] for name, group in folders.items()}
    target = record.dated(results, "segmentation_scenes")
    verdicts = judged(by_axis, cpu)
    record.write_part(target, "targets", verdicts, facts)
    record.write_part(target, "clicks", table(by_axis, "clicks", [REGION_RANDOM, IMAGE_RANDOM], cpu), facts)
    record.write_part(target, "pixels", table(by_axis, "pixels", [REGION_RANDOM]), facts)
    record.write_part(target, "seeds", last_rounds(by_axis, cpu, seeds), facts)
    record.write_part(target, "rounds", all_rounds(by_axis, seeds), facts)
    for axis, curves in by_axis.items():
        plot(target / f"{axis}.png", curves)
    record.write_readme(target, "Segmentation of scenes: regions and whole images", ABOUT, PARTS)
    record.print_table(console(), f"Targets, {len(seeds)} seeds", verdicts)
    return target


def environment_of(folder: Path) -> Row:
    """Return the environment in which a run started, which can be another machine than that of the judgement."""
    found: Row = json.loads((folder / "environment.jsonl").read_text(encoding="utf-8").splitlines()[0])
    return found


def overrides_in(command: str) -> list[str]:
    """Return the overrides of a command of ``dal run``, without its seed and its folders."""
    return [word for word in shlex.split(command)[2:] if not word.startswith(("seed=", "run_dir=", "data.root="))]


def table(
    by_axis: dict[str, dict[str, Curves]],
    axis: str,
    baselines: Sequence[str],
    cpu: dict[str, list[float | None]] | None = None,
) -> list[Row]:
    """Return a row per contender, with its differences from the baselines at equal cost."""
    curves = by_axis[axis]
    apart = {baseline: against(curves, baseline) for baseline in baselines}
    rows: list[Row] = []
    for name, own in curves.items():
        row: Row = {"contender": name, "mIoU %": interval(100 * own.miou[:, -1]), axis: float(own.cost[:, -1].mean())}
        row |= {f"minus {baseline}": apart[baseline].get(name, "") for baseline in baselines}
        if cpu is not None:
            known = [seconds for seconds in cpu[name] if seconds is not None]
            row["CPU s, most"] = max(known, default=None)
        rows.append(row)
    return rows


def interval(values: Iterable[float]) -> str:
    mean, half = mean_and_interval(list(values))
    return f"{mean:.1f} ± {half:.1f}"


def last_rounds(
    by_axis: dict[str, dict[str, Curves]], cpu: dict[str, list[float | None]], seeds: Sequence[int]
) -> list[Row]:
    return [
        {
            "contender": name,
            "seed": seed,
            "mIoU %": 100 * float(by_axis[AXES[0]][name].miou[place, -1]),
            **{axis: float(curves[name].cost[place, -1]) for axis, curves in by_axis.items()},
            "CPU s": cpu[name][place],
        }
        for name in CONTENDERS
        for place, seed in enumerate(seeds)
    ]


def all_rounds(by_axis: dict[str, dict[str, Curves]], seeds: Sequence[int]) -> list[Row]:
    return [
        {
            "contender": name,
            "seed": seed,
            "round": number,
            **{axis: float(curves[name].cost[place, number]) for axis, curves in by_axis.items()},
            "miou": float(value),
        }
        for name in CONTENDERS
        for place, seed in enumerate(seeds)
        for number, value in enumerate(by_axis[AXES[0]][name].miou[place])
    ]


def plot(path: Path, curves: dict[str, Curves]) -> None:
    """Plot mean learning curves with the bands of ``dal report``, and what all masks reach as a line."""
    groups = [own.group(name) for name, own in curves.items() if name != FULL]
    groups.sort(key=lambda group: -float(group.accuracy[:, -1].mean()))
    figure = curves_figure(groups)
    axes, full = figure.axes[0], 100 * float(curves[FULL].miou[:, -1].mean())
    axes.axhline(full, color="0.4", linestyle=":", linewidth=1.0)
    low, high = axes.get_ylim()
    axes.set_ylim(low, max(high, full + 0.05 * (high - low)))
    axes.annotate(
        f"{FULL}: {full:.1f}",
        (axes.get_xlim()[0], full),
        (4, 3),
        textcoords="offset points",
        fontsize=8,
        color="0.3",
    )
    save_figure(figure, path)


if __name__ == "__main__":
    sys.exit(main())
