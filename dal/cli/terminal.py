"""What a person sees while a campaign runs: bars where the terminal can show them, a line a round everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from dal.costs.prices import (
    BILL,
    PricesConfig,
    Row,
    counts_flops,
    human,
    of_phases,
    phases_of,
    total_flops,
    total_joules,
    total_seconds,
    without_testing,
)

STOPPED = {
    "budget": "the label budget is spent",
    "rounds": "the rounds are done",
    "pool_empty": "the pool is empty",
    "target": "the target is reached",
    "plateau": "the last rounds brought no gain",
    "stable_predictions": "the last models agree on the stop set",
    "classification_change": "the last round changed hardly any prediction on the stop set",
    "certain": "the model is certain about the stop set",
    "cost_optimum": "the next round would cost more than its gain is worth",
}
_UNITS = {"train": "updates", "score": "images scored", "test": "images tested", "embed": "images embedded"}


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


def round_line(row: Row) -> str:
    """One round in one line, which fits 80 columns. Its FLOPs are without the test pass.

    >>> round_line({"round": 2, "labels_bought": 60, "updates": 300, "test_accuracy": 0.9123, "seconds_train": 1.0,
    ...             "seconds_score": 0.25, "flops_forward_train": 10**12})
    'round   2     60 labels  test accuracy 91.2 %    300 updates  1.0 TFLOP    1.2 s'
    """
    accuracy = f"  test accuracy {row['test_accuracy']:5.1%}".replace("%", " %") if "test_accuracy" in row else ""
    flops = f"  {human(total_flops(without_testing(row)), digits=2) + 'FLOP':>9}" if counts_flops(row) else ""
    counts = f"round {row['round']:3d} {row['labels_bought']:6d} labels{accuracy}  {row['updates']:5d} updates"
    return f"{counts}{flops}  {_seconds(total_seconds(row)):>5} s"


def closing_table(rows: Sequence[Row], prices: PricesConfig | None = None) -> Table:
    """What the campaign cost, all rounds together: a line a phase, and the total with and without testing.

    ``rows`` are those of the journal, at least one. FLOPs stand there if all rows count them, energy if something
    measured it, and money if ``prices`` has a price; a phase that never happened has no line. Seconds are wall time;
    money is for all devices.
    """
    prices = prices or PricesConfig()
    columns = {"flops": "FLOPs", "seconds": "seconds", "energy": "energy\nWh", "money": f"cost\n{prices.currency}"}
    shown = {"flops": all(map(counts_flops, rows)), "energy": any(map(total_joules, rows)), "money": prices.known}
    columns = {name: title for name, title in columns.items() if shown.get(name, True)}
    table = Table(
        title="What it cost",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
        padding=(0, len(columns) < 4),  # all of them fit 80 columns only without
    )
    table.add_column("", no_wrap=True)
    for title in ("labels", "updates", "images\nforward", "images\nbackward", *columns.values()):
        table.add_column(title, justify="right", no_wrap=True)

    def add(name: str, parts: Sequence[Row], labels: int = 0, updates: int = 0, style: str | None = None) -> None:
        costs = {
            "flops": _flops(sum(map(total_flops, parts))),
            "seconds": _seconds(sum(map(total_seconds, parts))) if parts else "",
            "energy": _energy(sum(map(total_joules, parts))),
            "money": _money(_price(rows, parts, labels, prices)),
        }
        counts = (labels, updates, _images(parts, "forward"), _images(parts, "backward"))
        cells = [_count(count) if count else "" for count in counts]
        table.add_row(name, *cells, *(costs[name] for name in columns), style=style)

    validation = int(rows[-1].get("num_validation") or 0)
    updates = sum(row["updates"] for row in rows)
    add("training set", [], rows[-1]["labels_bought"] - validation)
    if validation:
        add("validation set", [], validation)
    lines = dict(BILL)
    named = {phase for phases in BILL.values() for phase in phases}
    lines |= {phase: (phase,) for row in rows for phase in phases_of(row) if phase not in named}
    testing = lines.pop("testing")
    for name, phases in lines.items():
        parts = [of_phases(row, phases) for row in rows]
        if any(any(part.values()) for part in parts):
            add(name, parts, updates=updates if name == "training" else 0)
    table.add_section()
    tested = [of_phases(row, testing) for row in rows]
    labels = rows[-1]["labels_bought"]
    if any(any(part.values()) for part in tested):
        add("without tests", [without_testing(row) for row in rows], labels, updates)
        add("testing", tested)
    add("total", rows, labels, updates, style="bold")
    return table


def _images(parts: Sequence[Row], way: str) -> int:
    return sum(v for part in parts for k, v in part.items() if k.startswith(f"samples_{way}_"))


def _price(rows: Sequence[Row], parts: Sequence[Row], labels: int, prices: PricesConfig) -> float:
    compute = (
        prices.cost(seconds=total_seconds(part), devices=int(row.get("devices") or 1), joules=total_joules(part))
        for row, part in zip(rows, parts, strict=False)
    )
    return prices.cost(labels=labels) + sum(compute)


def _count(count: int) -> str:
    return f"{count:,}" if count < 1e6 else human(count)


def _flops(flops: int) -> str:
    return human(flops).strip() if flops else ""


def _seconds(seconds: float) -> str:
    return f"{seconds:,.1f}" if seconds < 999.95 else f"{seconds:,.0f}"


def _energy(joules: float) -> str:
    return f"{joules / 3600:,.3g}" if joules else ""


def _money(money: float) -> str:
    if not money:
        return ""
    return "<0.01" if money < 0.005 else f"{money:,.2f}" if money < 9999.995 else f"{money:,.0f}"
