"""`dal order`: trains the labels of a run in other orders, and says whether the order made a difference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress
from rich.table import Table

from dal.analysis.diagnosis.read import read_history
from dal.analysis.label_order import (
    AT_ONCE,
    INTERVAL,
    LEAST_FOR_INTERVAL,
    ORDERS,
    RANDOM,
    OrderEffect,
    difference_of,
    effects,
    permutation,
    verdict,
)
from dal.campaign.reordered import LabelsOfRun, train_in_order
from dal.cli.labels_of_run import load_run
from dal.errors import DalError, bad_value, unknown_choice
from dal.runs.order_file import Schedule, order_file, read_orders, write_orders
from dal.runs.round import Round
from dal.runtime.console import SafeConsole
from dal.training.trainer.lightning import termination


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
    schedule = _schedule(labels)
    before = read_orders(path)
    done = before[1] if before is not None and before[0] == schedule else {}
    left = [(name, seed) for seed in range(seeds) for name in wanted if (name, seed) not in done]
    console.print(_bill(loaded.rows, len(left)))
    with Progress(console=console, transient=True) as progress, termination():
        task = progress.add_task("trainings", total=len(wanted) * seeds, completed=len(wanted) * seeds - len(left))
        for name, seed in left:
            positions = permutation(name, np.asarray(labels.labels), ease, seed).tolist()
            done[name, seed] = train_in_order(
                loaded.learner(seed), labels, positions, loaded.splits.test, at_once=name == AT_ONCE
            )
            write_orders(path, schedule, done)
            progress.advance(task)
    found = effects({name: np.array([done[name, seed] for seed in range(seeds)]) for name in wanted})
    console.print(_table(found))
    if seeds >= LEAST_FOR_INTERVAL:
        console.print(f"±: {INTERVAL}.")
    console.print(verdict(found, seeds))
    console.print(f"Written: {order_file(path)}")
    return order_file(path)


def _ease(path: Path, run: LabelsOfRun, console: SafeConsole) -> NDArray[np.float64] | None:
    """Return the mean probability of each label over the rounds that trained on it, or None without records."""
    try:
        trained = [one for one in read_history(path).trained if one is not None]
    except DalError:
        trained = []
    if not trained:
        console.print("Easy first and hard first are left out: no round has records for diagnosis.")
        return None
    sums: dict[int, list[float]] = {}
    for one in trained:
        for index, value in zip(one.index.tolist(), one.log_prob.tolist(), strict=True):
            sums.setdefault(index, []).append(math.exp(value))
    return np.array([np.mean(sums.get(index, [0.5])) for index in run.indices])


def _bill(rows: Sequence[Round], trainings: int) -> str:
    train = [row.cost(("train", "test")) for row in rows]
    seconds, flops = sum(cost.seconds for cost in train), sum(cost.total_flops for cost in train)
    if not trainings:
        return "All trainings are there already."
    minutes = round(trainings * seconds / 60)
    time = f"about {minutes} minute{'' if minutes == 1 else 's'}" if minutes else "less than a minute"
    return (
        f"{trainings} trainings of all rounds, {time} and "
        f"{trainings * flops / 1e12:.2f} TFLOP by this run's own training. Ctrl-C keeps the finished ones."
    )


def _schedule(run: LabelsOfRun) -> Schedule:
    return Schedule(len(run.indices), list(run.sizes), list(run.updates))


def _table(found: Sequence[OrderEffect]) -> Table:
    table = Table("order", *[_right(name) for name in ("final %", "on the way %", "to random, points", "p (Holm)")])
    for one in found:
        compared = one.order != RANDOM
        difference = difference_of(one) if compared else ""
        way = "" if np.isnan(one.on_the_way) else f"{100 * one.on_the_way:.2f}"
        p = f"{one.p:.2g}" if compared and not np.isnan(one.p) else ""
        table.add_row(ORDERS[one.order], f"{100 * one.final:.2f}", way, difference, p)
    return table


def _right(name: str) -> Any:
    from rich.table import Column

    return Column(name, justify="right")
