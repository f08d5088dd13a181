"""Prints the progress bars, rounds and costs of a campaign."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import TracebackType

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from dal.costs.phases import Costs, total_costs
from dal.costs.prices import BILL, MEASURING, PricesConfig, human
from dal.runs.round import PRIMARY_METRIC, Round, in_words, on_test
from dal.runs.wilson import in_percent
from dal.runtime.safe_text import visible

_UNITS = {"train": "updates", "score": "images scored", "test": "images tested", "embed": "images embedded"}


class CampaignProgress:
    """Shows progress bars for the labels bought and the current phase.

    Can be used as the loop's ``on_progress``. ``unit`` is what the budget counts.
    """

    def __init__(self, console: Console, budget: int | None = None, unit: str = "labels") -> None:
        self._bars = Progress(
            TextColumn("{task.description:<18}", markup=False),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}", markup=False),
            TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
            disable=not console.is_terminal,
            refresh_per_second=5,
        )
        self._labels = self._bars.add_task("labels", total=budget, unit=f"{unit} bought", visible=budget is not None)
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

    def labels(self, bought: float) -> None:
        """Update the bar of what the labels cost."""
        self._bars.update(self._labels, completed=int(bought))


def round_line(row: Round, metric: str = PRIMARY_METRIC, unit: str = "labels") -> str:
    """Return a summary of a round in at most 80 columns.

    The FLOPs exclude the test pass. An accuracy on a test set that people labeled has its 95 % interval. ``unit`` is
    what is bought.

    >>> row = {"round": 2, "labels_bought": 60, "updates": 300, "test_accuracy": 0.9123, "seconds_train": 1.0}
    >>> round_line(Round(row, seconds_score=0.25, flops_forward_train=10**12))
    'round   2     60 labels  test accuracy 91.2 %    300 updates  1.0 TFLOP    1.2 s'
    """
    reached = row.get(on_test(metric))
    interval = row.test_interval(metric)
    tested = "" if reached is None else f"  test {in_words(metric)} {100 * reached:4.1f} %"
    if interval is not None:
        tested = f"  test {100 * row[on_test(metric)]:4.1f} % ({in_percent(interval)})"
    flops = f"  {human(row.method.total_flops, digits=2) + 'FLOP':>9}" if row.counts_flops else ""
    counts = f"round {row.round:3d} {row.labels_bought:6d} {unit}{tested}  {row.updates:5d} updates"
    return f"{counts}{flops}  {_seconds(row.cost().seconds):>5} s"


def change_sentence(first: Round, last: Round, metric: str = PRIMARY_METRIC, unit: str = "labels") -> str:
    """Return a sentence about the metric of two rounds on the test set.

    On a test set that people labeled, it contains the 95 % interval of each accuracy.

    >>> rounds = [Round(labels_bought=n, test_accuracy=a, num_test=100) for n, a in ((120, 0.6), (300, 0.91))]
    >>> change_sentence(*rounds).split(". In ")[0]
    'Test accuracy rose from 60.0% (50-70) with 120 labels to 91.0% (83-96) with 300'
    """
    key = on_test(metric)
    verb = "rose" if last[key] > first[key] else "did not rise: it changed"
    one, other = (_with_interval(row, metric) for row in (first, last))
    sentence = (
        f"Test {in_words(metric)} {verb} from {one} with {first.labels_bought:,} {unit} to {other} with "
        f"{last.labels_bought:,}."
    )
    if last.test_interval(metric) is None:
        return sentence
    return f"{sentence} In brackets: 95 % interval in percent, from {last.num_test:,} test labels."


def _with_interval(row: Round, metric: str) -> str:
    interval = row.test_interval(metric)
    return f"{row[on_test(metric)]:.1%}" + ("" if interval is None else f" ({in_percent(interval)})")


def closing_table(rows: Sequence[Round], prices: PricesConfig | None = None, unit: str = "labels") -> Table:
    """Return a table of all costs, with one line per phase.

    The last lines are totals with and without testing. The time of people has its own line and is not part of the
    seconds, which are wall time. ``rows`` are the rows of the journal, at least one. The
    table shows FLOPs if all rows count them, energy if it was measured, and money if ``prices`` has a price. It omits
    phases without costs. ``unit`` is what is bought. Seconds are wall time, and money is summed over all devices.
    """
    prices = prices or PricesConfig()
    columns = {
        "flops": "FLOPs",
        "seconds": "seconds",
        "energy": "energy\nWh",
        "money": f"cost\n{visible(prices.currency)}",
    }
    costs = [row.costs for row in rows]
    whole = _sum(costs)
    shown = {"flops": all(row.counts_flops for row in rows), "energy": bool(whole.joules), "money": prices.known}
    columns = {name: title for name, title in columns.items() if shown.get(name, True)}
    table = _table(columns, unit)

    def add(name: str, phases: Collection[str], labels: int = 0, updates: int = 0, people: float = 0) -> None:
        total = _sum(costs, phases)
        money = prices.cost(labels=labels, people_seconds=people) + _compute(rows, phases, prices)
        cells = {
            "flops": human(total.total_flops).strip() if total.total_flops else "",
            "seconds": _seconds(total.seconds) if phases else "",
            "energy": _energy(total.joules or 0),
            "money": _money(money),
        }
        counts = (labels, updates, total.samples_forward, total.samples_backward)
        table.add_row(name, *(_count(n) if n else "" for n in counts), *(cells[column] for column in columns))

    # The row of a final model lacks the test labels.
    last, updates = max(rows, key=lambda row: row.labels_bought), sum(row.updates for row in rows)
    for name, count in _answers(last).items():
        add(name, (), count)
    seconds = sum(row.annotator_seconds or 0 for row in rows)
    if seconds:
        add(f"people {_hours(seconds)}", (), people=seconds)
    every = list(dict.fromkeys(phase for of_row in costs for phase in of_row))
    named = [phase for phases in BILL.values() for phase in phases]
    for name, phases in (BILL | {phase: (phase,) for phase in every if phase not in named}).items():
        if not set(phases) & set(MEASURING) and _sum(costs, phases):
            add(name, phases, updates=updates if name == "training" else 0)
    table.add_section()
    measured = [name for name in ("testing", "diagnosing") if _sum(costs, BILL[name])]
    if measured:
        name = "without tests" if "testing" in measured else "without diagnosing"
        add(name, [p for p in every if p not in MEASURING], last.labels_bought, updates, seconds)
        for name in measured:
            add(name, BILL[name])
    add("total", every, last.labels_bought, updates, seconds)
    table.rows[-1].style = "bold"
    return table


def _table(columns: Mapping[str, str], unit: str) -> Table:
    table = Table(
        title="What it cost",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
        padding=(0, len(columns) < 4),  # four or more columns fit 80 characters only without padding
    )
    table.add_column("", no_wrap=True)
    for title in (unit, "updates", "images\nforward", "images\nbackward", *columns.values()):
        table.add_column(title, justify="right", no_wrap=True)
    return table


def _answers(row: Round) -> dict[str, int]:
    """Return the labels of each set, by the name of its line."""
    sets = {"training set": row.num_labeled, "validation set": row.num_validation, "test set": row.num_test}
    # People also answer that they cannot tell, and give second opinions.
    sets["other answers"] = row.labels_bought - sum(sets.values())
    return {name: count for name, count in sets.items() if count > 0 or name == "training set"}


def _sum(costs: Sequence[Mapping[str, Costs]], phases: Collection[str] | None = None) -> Costs:
    return sum((total_costs(of_row, phases) for of_row in costs), start=Costs())


def _compute(rows: Sequence[Round], phases: Collection[str], prices: PricesConfig) -> float:
    return sum(prices.compute(row.cost(phases), row.devices) for row in rows)


def _count(count: int) -> str:
    return f"{count:,}" if count < 1e6 else human(count)


def _seconds(seconds: float) -> str:
    return f"{seconds:,.1f}" if seconds < 999.95 else f"{seconds:,.0f}"


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:,.1f} h" if seconds >= 360 else f"{seconds / 60:.1f} min"


def _energy(joules: float) -> str:
    return f"{joules / 3600:,.3g}" if joules else ""


def _money(money: float) -> str:
    if not money:
        return ""
    return "<0.01" if money < 0.005 else f"{money:,.2f}" if money < 9999.995 else f"{money:,.0f}"
