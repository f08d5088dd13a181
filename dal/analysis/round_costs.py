"""What the rounds of a run cost: FLOPs, seconds and money, without the test passes unless it is said."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dal.analysis.grouping import Group
from dal.costs.prices import (
    BILL,
    PricesConfig,
    counts_flops,
    of_phases,
    total_flops,
    total_joules,
    total_seconds,
    without_testing,
)
from dal.runs.reader import Run

Floats = NDArray[np.float64]

PHASES: dict[str, tuple[str, ...]] = {
    "flops_train": ("train", "validate"),
    "flops_score": ("embed", "score", "select"),
    "flops_test": BILL["testing"],
}
"""Of the journal, for each sum of FLOPs."""


def common_prices(runs: Iterable[Run]) -> PricesConfig | None:
    """The prices in the configurations of the runs, for all of them: None where no run has any, or two runs have
    others, since then a sum of money would compare price lists and not runs."""
    found = [prices for run in runs if (prices := _prices(run.config)).known]
    return found[0] if found and all(prices == found[0] for prices in found) else None


def round_costs(run: Run, prices: PricesConfig | None = None) -> dict[str, Floats]:
    """What each of the R rounds of a run cost, (R,) float64 each.

    - ``flops_train``: training and validation, forward and backward
    - ``flops_score``: scoring, selecting and embedding the pool
    - ``flops_test``: testing
    - ``flops_total``: everything but testing, which is measurement and not the method
    - ``seconds``: wall time, without testing
    - ``money``: labels, devices and energy, without testing; NaN without prices

    FLOPs are NaN where one of the rounds does not count them.
    """
    rows = [_known(row) for row in run.rounds.to_dict("records")]
    method = [without_testing(row) for row in rows]
    bought = np.diff([row["labels_bought"] for row in rows], prepend=0)
    costs: dict[str, list[float]] = {
        **{name: [total_flops(of_phases(row, phases)) for row in rows] for name, phases in PHASES.items()},
        "flops_total": [total_flops(row) for row in method],
        "seconds": [total_seconds(row) for row in method],
        "money": [money(row, labels, prices) for row, labels in zip(method, bought, strict=True)],
    }
    if not all(map(counts_flops, rows)):
        costs |= {name: [math.nan] * len(rows) for name in costs if name.startswith("flops")}
    return {name: np.array(values, dtype=np.float64) for name, values in costs.items()}


def mean_costs(group: Group, prices: PricesConfig | None = None) -> dict[str, Floats]:
    """What has been spent at each of the T rounds of a group, from the first round on: means over its runs, (T,) each,
    with the keys of round_costs().

    Runs of other seeds spend other amounts by the same round. Their costs are averaged round by round, as their
    accuracies are, so that a point of a curve is the mean run at that round.
    """
    runs = [round_costs(run, prices) for run in group.runs]
    return {name: np.mean([costs[name][: len(group.labels)].cumsum() for costs in runs], axis=0) for name in runs[0]}


def money(row: Mapping[str, Any], labels: float, prices: PricesConfig | None) -> float:
    """Of a row and so many labels; NaN without prices."""
    if prices is None or not prices.known:
        return math.nan
    devices = int(row.get("devices") or 1)
    return prices.cost(labels=labels, seconds=total_seconds(row), devices=devices, joules=total_joules(row))


def _known(row: Mapping[Any, Any]) -> dict[str, Any]:
    """A row without the keys that only other rows have: a table holds NaN there."""
    return {k: v for k, v in row.items() if not (v is None or (isinstance(v, float) and math.isnan(v)))}


def _prices(config: Mapping[str, Any]) -> PricesConfig:
    given = config.get("prices") or {}
    names = {field.name for field in fields(PricesConfig)} - {"accuracy_point"}
    return PricesConfig(**{name: value for name, value in given.items() if name in names})
