"""Table of a grid: cell status and time left."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from dal.runs.round import in_words
from dal.runtime.safe_text import visible
from dal.sweep.grid import Cell
from dal.sweep.status import BEGUN, DONE, RunStatus


def grid_table(
    cells: Sequence[Cell],
    statuses: Mapping[Path, RunStatus],
    running: Collection[Cell] = (),
    failed: Mapping[Path, str] | None = None,
    caption: str = "",
) -> Table:
    """Return a table with the progress of a grid.

    Cells that differ only in their seed share a line. ``statuses`` and ``failed`` map run_dir to the status and to the
    reason of the failure.
    """
    failed = failed or {}
    table = Table(
        title=f"{sum(statuses[c.run_dir].stage == DONE for c in cells)} of {len(cells)} runs are done",
        title_justify="left",
        title_style="bold",
        caption=Text(caption),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("run", overflow="fold")
    for column in ("done", "waiting", "failed"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("running", overflow="fold")
    metrics = dict.fromkeys(in_words(statuses[cell.run_dir].metric) for cell in cells)
    table.add_column(f"{' or '.join(metrics)}\n%", justify="right", no_wrap=True)
    table.add_column("time\nper run", justify="right", no_wrap=True)
    at_work = {cell.run_dir for cell in running}
    for row in dict.fromkeys(cell.row for cell in cells):
        of_row = [cell for cell in cells if cell.row == row]
        done = [statuses[c.run_dir] for c in of_row if statuses[c.run_dir].stage == DONE and c.run_dir not in failed]
        bad = [cell for cell in of_row if cell.run_dir in failed]
        now = [cell for cell in of_row if cell.run_dir in at_work]
        waiting = len(of_row) - len(done) - len(bad) - len(now)
        accuracies = [found.accuracy for found in done if found.accuracy is not None]
        table.add_row(
            Text(visible(row)),
            f"{len(done)} of {len(of_row)}",
            str(waiting) if waiting else "",
            Text(f"seed {', '.join(str(cell.seed) for cell in bad)}", style="red") if bad else "",
            Text("\n".join(at_work_line(cell, statuses[cell.run_dir]) for cell in now)),
            f"{100 * sum(accuracies) / len(accuracies):.1f}" if accuracies else "",
            duration(sum(found.seconds for found in done) / len(done)) if done else "",
        )
    return table


def at_work_line(cell: Cell, found: RunStatus) -> str:
    """Return the progress, such as ``seed 3: 120 of 300 labels``."""
    budget = cell.config["campaign"]["budget"]
    return f"seed {cell.seed}: {found.labels:,}{f' of {budget:,}' if budget else ''} labels"


def result_line(found: RunStatus) -> str:
    """Return the result, such as ``91.2 % with 300 labels``.

    >>> result_line(RunStatus(DONE, labels=300, accuracy=0.912))
    '91.2 % with 300 labels'
    """
    accuracy = "" if found.accuracy is None else f"{100 * found.accuracy:.1f} % with "
    return f"{accuracy}{found.labels:,} labels"


def begins_line(found: RunStatus) -> str:
    """Return the message for a starting cell."""
    return f"resumed after {found.labels:,} labels" if found.stage == BEGUN and found.labels else "started"


def duration(seconds: float) -> str:
    """Format a duration in whole seconds, minutes or hours.

    >>> [duration(s) for s in (0.4, 59.6, 119, 5400, 200_000)]
    ['0 s', '60 s', '119 s', '90 min', '56 h']
    """
    if seconds < 119.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7170 else f"{seconds / 3600:.0f} h"
