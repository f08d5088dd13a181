"""What the page says of the results of `dal order`."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dal.analysis.diagnosis.words import p_value
from dal.analysis.label_order import (
    INTERVAL,
    LEAST_FOR_INTERVAL,
    ORDERS,
    RANDOM,
    OrderEffect,
    common_seeds,
    difference_of,
    effects,
    verdict,
)
from dal.errors import DalError
from dal.reports.explanation.elements import paragraph, percent, table_element
from dal.reports.offline.markup import escape
from dal.runs.order_file import read_orders
from dal.runs.reader import Run

TITLE = "The same labels in other orders"


def order_results(run: Run) -> str:
    """Return the results as HTML, or an empty text without any."""
    try:
        found = read_orders(run.path)
    except DalError as error:
        return _section(paragraph(str(error)))
    if found is None:
        return ""
    schedule, done = found
    if sum(schedule.updates) != sum(row.updates for row in run.rows):
        return _section(
            paragraph("The results of dal order are of fewer rounds of this run. Run it again to renew them.")
        )
    curves = common_seeds(done)
    if len(curves) < 2:
        return _section(paragraph("dal order has not trained all orders yet. The same command goes on."))
    seeds = len(curves[RANDOM])
    return _section(paragraph(verdict(effects(curves), seeds)) + _table(effects(curves), seeds))


def _section(content: str) -> str:
    return f"<h3>{escape(TITLE)}</h3>{content}"


def _table(found: Sequence[OrderEffect], seeds: int) -> str:
    rows = [
        [
            escape(ORDERS[one.order]),
            percent(one.final),
            percent(one.on_the_way),
            "–" if one.order == RANDOM else difference_of(one),
            "–" if math.isnan(one.p) else escape(p_value(one.p).removeprefix("p ").removeprefix("= ")),
        ]
        for one in found
    ]
    header = ["Order", "Final accuracy", "Mean over rounds", "To random order (points)", "p (Holm)"]
    caption = f"Means of {seeds} seed{'' if seeds == 1 else 's'} (dal order)."
    if seeds >= LEAST_FOR_INTERVAL:
        caption += f" ±: {INTERVAL}."
    return table_element(header, rows) + paragraph(caption, "caption")
