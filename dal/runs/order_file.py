"""order/order.csv of a run folder: the accuracies of `dal order`."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dal.errors import DalError
from dal.runs.files.atomic import write_text
from dal.runs.files.committed import read_bytes, subfolder
from dal.runs.files.state import is_count
from dal.runtime.refusals import explained

_FOLDER, _FILE = "order", "order.csv"

Trainings = dict[tuple[str, int], list[float]]
"""The test accuracy of each round, by order and seed."""


@dataclass(frozen=True)
class Schedule:
    """The labels and updates that all orders share. Results of another schedule are not comparable."""

    labels: int
    sizes: Sequence[int]
    """Labels that each round adds."""
    updates: Sequence[int]
    """Updates of each round."""


def order_file(run: Path) -> Path:
    """Return the path of the file in a run folder."""
    return run / _FOLDER / _FILE


def read_orders(run: Path) -> tuple[Schedule, Trainings] | None:
    """Return the finished trainings with their schedule, or None without the file.

    Raises DalError for a damaged file.
    """
    file, folder = order_file(run), subfolder(run, _FOLDER)
    if not os.path.lexists(file):
        return None
    data = read_bytes(folder, _FILE)
    done: dict[tuple[str, int], dict[int, float]] = {}
    try:
        text = io.StringIO(data.decode(), newline="")
        schedule = Schedule(*json.loads(text.readline().removeprefix("#")))
        for row in csv.DictReader(text):
            done.setdefault((row["order"], int(row["seed"])), {})[int(row["round"])] = float(row["accuracy"])
        for by_round in done.values():
            if sorted(by_round) != list(range(len(by_round))) or len(by_round) not in (1, len(schedule.sizes)):
                raise ValueError("rounds are missing")
            if not all(map(math.isfinite, by_round.values())) or not all(map(is_count, schedule.updates)):
                raise ValueError("expected numbers")
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError, csv.Error) as error:
        raise DalError(f"order: {str(file)!r} is damaged. Delete it to start again.") from error
    return schedule, {one: [by_round[number] for number in sorted(by_round)] for one, by_round in done.items()}


def write_orders(run: Path, schedule: Schedule, done: Mapping[tuple[str, int], Sequence[float]]) -> None:
    """Replace the file by these trainings."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["order", "seed", "round", "accuracy"])
    for (name, seed), accuracies in sorted(done.items()):
        writer.writerows([name, seed, number, repr(value)] for number, value in enumerate(accuracies))
    file = subfolder(run, _FOLDER) / _FILE
    with explained(path=file.parent):
        file.parent.mkdir(parents=True, exist_ok=True)
    key = json.dumps([schedule.labels, schedule.sizes, schedule.updates])
    write_text(file, f"# {key}\n{text.getvalue()}")
