"""`dal order`: trains the labels of a run in other orders, and says whether the order made a difference."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress
from rich.table import Table

from dal.analysis.diagnosis.read import read_history
from dal.analysis.label_order import AT_ONCE, ORDERS, RANDOM, OrderEffect, effects, permutation, verdict
from dal.campaign.reordered import LabelsOfRun, train_in_order
from dal.cli.labels_of_run import load_run
from dal.errors import DalError, bad_value, unknown_choice
from dal.runs.files.atomic import write_text
from dal.runs.round import Round
from dal.runtime.console import SafeConsole
from dal.training.trainer.lightning import termination

Key = tuple[str, int]


def order_command(run: str, seeds: int = 10, orders: Sequence[str] = ()) -> Path:
    """Train the labels of a run in each order with each seed, and compare the final accuracies with random order.

    Finished trainings are in ``RUN/order/order.csv``, and the same command continues after an interrupt. Raises
    DalError for a run without a finished round or a test set, and for an unknown order.
    """
    if seeds < 1:
        raise bad_value("--seeds", "at least 1", seeds)
    for name in orders:
        if name not in ORDERS:
            raise unknown_choice("--orders", ORDERS, name)
    path = Path(run)
    loaded = load_run(path, "Orders")
    labels = loaded.labels
    console = SafeConsole(soft_wrap=True)
    ease = _ease(path, labels, console)
    wanted = [name for name in ORDERS if name in (orders or ORDERS) or name == RANDOM]
    wanted = [name for name in wanted if ease is not None or name not in ("easy_first", "hard_first")]
    file = path / "order" / "order.csv"
    done = _read(file, _key(labels))
    left = [(name, seed) for seed in range(seeds) for name in wanted if (name, seed) not in done]
    console.print(_bill(loaded.rows, len(left)))
    with Progress(console=console, transient=True) as progress, termination():
        task = progress.add_task("trainings", total=len(wanted) * seeds, completed=len(wanted) * seeds - len(left))
        for name, seed in left:
            positions = permutation(name, np.asarray(labels.labels), ease, seed).tolist()
            done[name, seed] = train_in_order(
                loaded.learner(seed), labels, positions, loaded.splits.test, at_once=name == AT_ONCE
            )
            _write(file, done, _key(labels))
            progress.advance(task)
    found = effects({name: np.array([done[name, seed] for seed in range(seeds)]) for name in wanted})
    console.print(_table(found))
    console.print(verdict(found, seeds))
    console.print(f"Written: {file}")
    return file


def _ease(path: Path, run: LabelsOfRun, console: SafeConsole) -> NDArray[np.float64] | None:
    """Return the mean probability of each label over the rounds that trained on it, or None without records."""
    try:
        history = read_history(path)
    except DalError:
        console.print("Easy first and hard first are left out: no round has records for diagnosis.")
        return None
    sums: dict[int, list[float]] = {}
    for trained in filter(None, history.trained):
        for index, value in zip(trained.index.tolist(), trained.log_prob.tolist(), strict=True):
            sums.setdefault(index, []).append(math.exp(value))
    return np.array([np.mean(sums.get(index, [0.5])) for index in run.indices])


def _bill(rows: Sequence[Round], trainings: int) -> str:
    train = [row.cost(("train", "test")) for row in rows]
    seconds, flops = sum(cost.seconds for cost in train), sum(cost.total_flops for cost in train)
    if not trainings:
        return "All trainings are there already."
    return (
        f"{trainings} trainings of all rounds, about {trainings * seconds / 60:.0f} minutes and "
        f"{trainings * flops / 1e12:.2f} TFLOP by this run's own training. Ctrl-C keeps the finished ones."
    )


def _key(run: LabelsOfRun) -> str:
    """Return what the results of a file belong to: the labels and the schedule."""
    return json.dumps([len(run.indices), run.sizes, run.updates])


def _read(file: Path, key: str) -> dict[Key, list[float]]:
    """Return the finished trainings of these labels."""
    if not file.is_file():
        return {}
    done: dict[Key, dict[int, float]] = {}
    try:
        with file.open(encoding="utf-8", newline="") as text:
            if text.readline().rstrip("\n") != f"# {key}":
                return {}
            for row in csv.DictReader(text):
                done.setdefault((row["order"], int(row["seed"])), {})[int(row["round"])] = float(row["accuracy"])
    except (KeyError, ValueError, TypeError, OSError) as error:
        raise DalError(f"order: {str(file)!r} is damaged. Delete it to start again.") from error
    return {one: [by_round[number] for number in sorted(by_round)] for one, by_round in done.items()}


def _write(file: Path, done: dict[Key, list[float]], key: str) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["order", "seed", "round", "accuracy"])
    for (name, seed), accuracies in sorted(done.items()):
        writer.writerows([name, seed, number, repr(value)] for number, value in enumerate(accuracies))
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, f"# {key}\n{text.getvalue()}")


def _table(found: Sequence[OrderEffect]) -> Table:
    table = Table("order", *[_right(name) for name in ("final %", "on the way %", "to random, points", "p (Holm)")])
    for one in found:
        compared = one.order != RANDOM
        spread = "" if np.isnan(one.half_width) else f" ± {100 * one.half_width:.2f}"
        difference = f"{100 * one.difference:+.2f}{spread}" if compared else ""
        way = "" if np.isnan(one.on_the_way) else f"{100 * one.on_the_way:.2f}"
        p = f"{one.p:.2g}" if compared and not np.isnan(one.p) else ""
        table.add_row(ORDERS[one.order], f"{100 * one.final:.2f}", way, difference, p)
    return table


def _right(name: str) -> Any:
    from rich.table import Column

    return Column(name, justify="right")
