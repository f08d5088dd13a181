"""What a person sees while a campaign runs: bars where the terminal can show them, a line a round everywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

STOPPED = {
    "budget": "the label budget is spent",
    "rounds": "the rounds are done",
    "pool_empty": "the pool is empty",
    "target": "the target is reached",
    "plateau": "the last rounds brought no gain",
}
_UNITS = {"train": "updates", "score": "images scored", "test": "images tested"}


class CampaignProgress:
    """Bars for the labels bought and the phase at work. Works as the loop's ``on_progress``."""

    def __init__(self, console: Console, budget: int | None = None) -> None:
        self._bars = Progress(
            TextColumn("{task.description:<18}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
            disable=not console.is_terminal,
            refresh_per_second=5,
        )
        self._labels = self._bars.add_task("labels", total=budget, unit="labels bought", visible=budget is not None)
        self._phase: tuple[str, TaskID] | None = None
        self._done = 0

    def __enter__(self) -> CampaignProgress:
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bars.stop()

    def __call__(self, phase: str, done: int, total: int) -> None:
        if self._phase is None or self._phase[0] != phase or done < self._done:
            if self._phase is not None:
                self._bars.remove_task(self._phase[1])
            self._phase = phase, self._bars.add_task(phase, total=total, unit=_UNITS.get(phase, ""))
        self._done = done
        self._bars.update(self._phase[1], completed=done)

    def labels(self, bought: int) -> None:
        """Move the bar of the campaign."""
        self._bars.update(self._labels, completed=bought)


def round_line(row: Mapping[str, Any]) -> str:
    """One round in one line.

    >>> round_line({"round": 2, "labels_bought": 60, "updates": 300, "training_stopped": "no_improvement",
    ...             "test_accuracy": 0.9123, "seconds_train": 1.0, "seconds_score": 0.25})
    'round   2      60 labels   test accuracy  91.2 %     300 updates    1.2 s'
    """
    seconds = sum(value for key, value in row.items() if key.startswith("seconds_"))
    accuracy = f"   test accuracy {row['test_accuracy']:6.1%}".replace("%", " %") if "test_accuracy" in row else ""
    labels, updates = row["labels_bought"], row["updates"]
    return f"round {row['round']:3d}  {labels:6d} labels{accuracy}   {updates:5d} updates  {seconds:5.1f} s"


def closing_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """What the campaign cost, all rounds together."""
    table = Table(title="What it cost", title_justify="left", show_header=True, box=None, pad_edge=False)
    for column in ("", "labels", "updates", "images forward", "images backward", "seconds"):
        table.add_column(column, justify="left" if not column else "right")
    last = rows[-1]
    buy = ("buying labels", f"{last['labels_bought']:,}", "", "", "", "")
    table.add_row(*buy)
    for name, phases in {
        "training": ("train", "validate"),
        "scoring": ("embed", "score", "select"),
        "testing": ("test",),
    }.items():
        forward = sum(row.get(f"samples_forward_{p}", 0) for row in rows for p in phases)
        backward = sum(row.get(f"samples_backward_{p}", 0) for row in rows for p in phases)
        seconds = sum(row.get(f"seconds_{p}", 0.0) for row in rows for p in phases)
        updates = f"{sum(row['updates'] for row in rows):,}" if name == "training" else ""
        table.add_row(name, "", updates, f"{forward:,}", f"{backward:,}" if backward else "", f"{seconds:.1f}")
    return table
