"""Tables and sentences about the people who label."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from dal.analysis.people import ClassLine, PersonLine, agreement, answers_of, class_lines, labels_changed, people_lines
from dal.costs.prices import PricesConfig
from dal.errors import DalError
from dal.labeling.people.events import ANSWERS
from dal.runs.reader import Run
from dal.runtime.safe_text import visible

_MOST_CLASSES = 20


def print_people(runs: Iterable[Run], prices: PricesConfig | None = None) -> Iterator[Table | str]:
    """Yield tables and a sentence for each run that people label.

    A run with a damaged journal yields nothing, with a message on standard error.
    """
    for run in runs:
        try:
            fold = answers_of(run)
        except DalError as error:
            print(visible(f"People of {str(run.path)!r} are not shown: {error}"), file=sys.stderr)
            continue
        if fold is None or not (people := people_lines(fold, prices)):
            continue
        yield _people_table(str(run.path), people, prices)
        if classes := class_lines(fold):
            yield _class_table(classes)
        found = agreement(fold)
        if found is not None:
            points = f"{found[0]:,} point{'s' if found[0] > 1 else ''}"
            yield f"{points} with two or more opinions: {found[1]:.1%} of the opinions agree with the majority."
        changed = run.rows[-1].get("labels_changed")
        if changed:
            yield f"The last round trained again, because {_labels(changed)} changed after the campaign had ended."
        changed = labels_changed(run, fold)
        if changed:
            again = f"dal label {shlex.quote(str(run.path))}"
            yield visible(f"{_labels(changed)} changed after the last training. To train again, run {again}.")


def _labels(count: int) -> str:
    return "1 label" if count == 1 else f"{count:,} labels"


def hours_sentence(runs: Sequence[Run], prices: PricesConfig | None) -> str | None:
    """Return a sentence if the price of an hour of people applies to runs whose seconds nobody measured."""
    if prices is None or prices.label_hour is None:
        return None
    count = sum(all(row.annotator_seconds is None for row in run.rows) for run in runs)
    if not count:
        return None
    which = "the run" if len(runs) == 1 else f"{count} of the {len(runs)} runs"
    return f"prices.label_hour adds nothing to the bill of {which}, because the time of people was not measured."


def _people_table(path: str, people: Sequence[PersonLine], prices: PricesConfig | None) -> Table:
    table = _table(f"People of {path}")
    table.add_column("person", overflow="fold")
    priced = prices is not None and prices.known
    cost = [f"cost\n{visible(prices.currency)}"] if prices is not None and priced else []
    for column in ("answers", *ANSWERS, "median\ns", "hours", *cost):
        table.add_column(column, justify="right", no_wrap=True)
    for one in people:
        counts = [sum(one.kinds.values()), *(one.kinds[kind] for kind in ANSWERS)]
        money = [_number(one.money, 2)] if priced else []
        hours = _number(one.seconds / 3600, 2)
        table.add_row(visible(one.name), *(f"{count:,}" for count in counts), _number(one.median, 1), hours, *money)
    return table


def _class_table(classes: Sequence[ClassLine]) -> Table:
    table = _table("Classes")
    table.add_column("class", overflow="fold")
    for column in ("labels", "median\ns"):
        table.add_column(column, justify="right", no_wrap=True)
    shown = sorted(classes, key=lambda one: -one.labels)[:_MOST_CLASSES] if len(classes) > _MOST_CLASSES else classes
    for one in shown:
        table.add_row(Text(visible(one.name)), f"{one.labels:,}", _number(one.median, 1))
    if len(shown) < len(classes):
        table.caption = f"The {len(shown)} classes with the most labels, of {len(classes)}."
    return table


def _table(title: str) -> Table:
    return Table(
        title=Text(visible(title), style="bold"),
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )


def _number(value: float, digits: int) -> str:
    return "–" if math.isnan(value) else f"{value:,.{digits}f}"
