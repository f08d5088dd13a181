"""Status of the cells of a grid, and the time left."""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dal.analysis import NoRoundsError, Run, read_run
from dal.errors import DalError
from dal.runs.files.state import read_state
from dal.runs.layout import CONFIG, STATE
from dal.runs.round import PRIMARY_METRIC
from dal.runs.saved_config import check_same_config
from dal.sweep.grid import Cell

NEW, BEGUN, DONE, REFUSED = "new", "begun", "done", "refused"


@dataclass(frozen=True)
class RunStatus:
    """Progress of a cell.

    ``stage`` is new, begun, done or refused. A refused cell cannot resume, for the ``reason`` given.
    """

    stage: str = NEW
    labels: int = 0  # bought in finished rounds
    accuracy: float | None = None  # the primary metric on the test set, after the last finished round
    seconds: float = 0.0  # time of those rounds
    reason: str = ""
    metric: str = PRIMARY_METRIC


def run_status(cell: Cell) -> RunStatus:
    """Read the status of a cell from its folder.

    The images are not read, so changes to them are not detected.
    """
    folder = cell.run_dir
    if not os.path.lexists(folder / STATE):
        return RunStatus()
    try:
        if not read_state(folder)["rounds"]:  # another configuration may replace such a run
            return RunStatus(BEGUN)
        check_same_config(folder / CONFIG, cell.config)
        return _of_run(read_run(folder))
    except NoRoundsError:
        return RunStatus(BEGUN)
    except (DalError, OSError) as error:
        return RunStatus(REFUSED, reason=str(error))


def seconds_left(
    cells: Sequence[Cell],
    statuses: Mapping[Path, RunStatus],
    open_cells: Sequence[Cell],
    at_once: int,
    measured: Mapping[Path, float] | None = None,
) -> float | None:
    """Estimate the seconds until ``open_cells`` are done.

    ``at_once`` cells run at a time. The result is None if nothing is known. The estimate for a cell is the mean of the
    finished cells of its row, or else of all rows. Without finished cells, it extrapolates the cells that have begun by
    their share of the budget. ``measured`` are wall times of finished cells, which replace the seconds in their
    journals.
    """
    measured = measured or {}
    whole: dict[str, list[float]] = defaultdict(list)
    guessed: list[float] = []
    for cell in cells:
        found = statuses[cell.run_dir]
        if found.stage == DONE:
            whole[cell.row].append(measured.get(cell.run_dir, found.seconds))
        elif share := _share(cell, found):
            guessed.append(found.seconds / share)
    known = [seconds for of_row in whole.values() for seconds in of_row] or guessed
    if not known or not open_cells:
        return None if open_cells else 0.0
    left = []
    for cell in open_cells:
        expected = whole.get(cell.row) or known
        left.append(sum(expected) / len(expected) * (1 - _share(cell, statuses[cell.run_dir])))
    return max(sum(left) / at_once, *left)


def _share(cell: Cell, found: RunStatus) -> float:
    """Return the share of the budget already bought, below 1."""
    budget = cell.config["campaign"]["budget"]
    return min(found.labels / budget, 0.99) if budget else 0.0


def _of_run(run: Run) -> RunStatus:
    accuracy = float(run.curve[-1])
    return RunStatus(
        DONE if run.finished else BEGUN,
        run.rows[-1].labels_bought,
        None if math.isnan(accuracy) else accuracy,
        sum(row.cost().seconds for row in run.rows),
        metric=run.primary_metric,
    )
