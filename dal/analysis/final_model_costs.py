"""What the target that a proxy chose for adds to a line of numbers: it is trained once, after the last round."""

from __future__ import annotations

from typing import Any

import numpy as np

from dal.analysis.grouping import Group
from dal.analysis.round_costs import PHASES, money
from dal.costs.prices import PricesConfig, of_phases, total_flops, total_seconds, without_testing


def with_target(line: dict[str, Any], group: Group, prices: PricesConfig | None) -> dict[str, Any]:
    """A line of summarize_runs() with the costs of the targets added to those of the rounds, its accuracy beside that
    of the proxy, and a note. As it was where a run has no target."""
    rows = [run.target for run in group.runs]
    known = [row for row in rows if row is not None]
    if len(known) < len(rows) or len(group.labels) < min(len(run.rounds) for run in group.runs):
        return line
    added = {
        **{name: [total_flops(of_phases(row, phases)) for row in known] for name, phases in PHASES.items()},
        "flops_total": [total_flops(without_testing(row)) for row in known],
        "updates": [row["updates"] for row in known],
        "seconds_train": [row.get("seconds_train", 0) for row in known],
        "seconds_total": [total_seconds(row) for row in known],
        "seconds_method": [total_seconds(without_testing(row)) for row in known],
        "money_total": [money(without_testing(row), 0, prices) for row in known],
    }
    accuracy = float(np.mean([row.get("test_accuracy", np.nan) for row in known]))
    name = known[0]["backbone"]
    tested = "was not tested" if np.isnan(accuracy) else f"ended at {accuracy:.1%}"
    note = f"the target {name} {tested}, and costs, updates and seconds are with it, but its curves are the proxy's"
    return {
        **line,
        **{key: line[key] + float(np.mean(values)) for key, values in added.items()},
        "final_backbone": name,
        "target_test_accuracy": accuracy,
        "note": "; ".join(filter(None, [line["note"], note])),
    }
