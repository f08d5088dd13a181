"""Adds the final model to the numbers of a group."""

from __future__ import annotations

from typing import Any

import numpy as np

from dal.analysis.grouping import Group
from dal.analysis.per_round import PHASES, money
from dal.costs.prices import PricesConfig
from dal.runs.round import on_test


def with_final_model(line: dict[str, Any], group: Group, prices: PricesConfig | None) -> dict[str, Any]:
    """Add the final models to a row of summarize_runs().

    The result includes their costs, their metric in addition to that of the proxies, and a note. The row is unchanged
    if a run has no final model.
    """
    rows = [run.final_model for run in group.runs]
    known = [row for row in rows if row is not None]
    if len(known) < len(rows) or len(group.labels) < min(len(run.rows) for run in group.runs):
        return line
    added: dict[str, list[float]] = {
        **{name: [row.cost(phases).total_flops for row in known] for name, phases in PHASES.items()},
        "flops_total": [row.method.total_flops for row in known],
        "updates": [row.updates for row in known],
        "seconds_train": [row.cost(["train"]).seconds for row in known],
        "seconds_total": [row.cost().seconds for row in known],
        "seconds_method": [row.method.seconds for row in known],
        "money_total": [money(row, 0, 0, prices) for row in known],
    }
    values = [row.get(on_test(group.metric)) for row in known]
    reached = float(np.mean([np.nan if value is None else value for value in values]))
    name = known[0]["backbone"]
    tested = "was not tested" if np.isnan(reached) else f"ended at {reached:.1%}"
    note = f"the final model {name} {tested}, and costs, updates and seconds include it, but the curves are the proxy's"
    return {
        **line,
        **{key: line[key] + float(np.mean(numbers)) for key, numbers in added.items()},
        "final_backbone": name,
        f"final_{on_test(group.metric)}": reached,
        "note": "; ".join(filter(None, [line["note"], note])),
    }
