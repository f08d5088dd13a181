"""FLOPs, seconds and money of the rounds of a run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dal.analysis.grouping import Group
from dal.costs.prices import BILL, PricesConfig
from dal.runs.reader import Run
from dal.runs.round import Round

Floats = NDArray[np.float64]

PHASES: dict[str, tuple[str, ...]] = {
    "flops_train": ("train", "validate"),
    "flops_score": ("embed", "score", "select"),
    "flops_test": BILL["testing"],
    "flops_diagnose": BILL["diagnosing"],
}
"""The phases of the journal in each sum of FLOPs."""


def common_prices(runs: Iterable[Run]) -> PricesConfig | None:
    """Return the prices that the configurations of all runs share.

    Returns None if no run has prices, or if the prices of two runs differ: money would then compare price lists, not
    runs.
    """
    found = [prices for run in runs if (prices := _prices(run.config)).known]
    return found[0] if found and all(prices == found[0] for prices in found) else None


def round_costs(run: Run, prices: PricesConfig | None = None) -> dict[str, Floats]:
    """Return the costs of each round, (R,) float64 each.

    - ``flops_train``: training and validation, forward and backward
    - ``flops_score``: scoring, selecting and embedding the pool
    - ``flops_test``: testing
    - ``flops_diagnose``: what the records for diagnosis add
    - ``flops_total``: everything except testing and diagnosing, which measure the method but are not part of it
    - ``seconds``: wall time, without testing and diagnosing
    - ``money``: labels, people, devices and energy, without testing and diagnosing; NaN without prices

    FLOPs are NaN if a round does not count them.
    """
    bought = np.diff(run.labels_bought, prepend=0).tolist()
    people = [row.annotator_seconds or 0.0 for row in run.rows]
    costs: dict[str, list[float]] = {
        **{name: [row.cost(phases).total_flops for row in run.rows] for name, phases in PHASES.items()},
        "flops_total": [row.method.total_flops for row in run.rows],
        "seconds": [row.method.seconds for row in run.rows],
        "money": [money(*spent, prices) for spent in zip(run.rows, bought, people, strict=True)],
    }
    if not all(row.counts_flops for row in run.rows):
        costs |= {name: [math.nan] * len(run.rows) for name in (*PHASES, "flops_total")}
    return {name: np.array(values, dtype=np.float64) for name, values in costs.items()}


def mean_costs(group: Group, prices: PricesConfig | None = None) -> dict[str, Floats]:
    """Return the mean cumulative costs of a group, (T,) each.

    The keys are those of round_costs(). Costs by the same round differ between seeds. They are averaged round by round,
    like the accuracies, so a point of a curve is the mean run at that round.
    """
    runs = [round_costs(run, prices) for run in group.runs]
    return {name: np.mean([costs[name][: len(group.labels)].cumsum() for costs in runs], axis=0) for name in runs[0]}


def money(row: Round, labels: float, people_seconds: float, prices: PricesConfig | None) -> float:
    """Return the price of labels, of the time of people, and of a row's costs without testing and diagnosing.

    It is NaN without prices.
    """
    if prices is None or not prices.known:
        return math.nan
    return prices.cost(labels=labels, people_seconds=people_seconds) + prices.compute(row.method, row.devices)


def _prices(config: Mapping[str, Any]) -> PricesConfig:
    given = config.get("prices") or {}
    names = {field.name for field in fields(PricesConfig)} - {"accuracy_point"}
    return PricesConfig(**{name: value for name, value in given.items() if name in names})
