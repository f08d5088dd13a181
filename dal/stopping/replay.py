"""Applies stopping rules to the records of a finished campaign."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dal.costs.prices import PricesConfig
from dal.runs.round import PRIMARY_METRIC, Round, on_test
from dal.stopping.config import CampaignConfig
from dal.stopping.rules import reason_to_stop

_MANY = 2**40


def replay(config: CampaignConfig, rows: Sequence[Round], prices: PricesConfig | None = None) -> int | None:
    """Return the index of the round where a rule stops, or None.

    A rule that first holds after the last round counts. The limits (max_rounds, budget, empty pool) and the sizes in
    ``config`` are ignored; the query sizes are those of the rows.

    Raises the errors of reason_to_stop().

    >>> rows = [Round({"test_accuracy": a, "labels_bought": 1}) for a in (0.7, 0.8, 0.9)]
    >>> replay(CampaignConfig(target=0.8), rows)
    1
    """
    # The rows determine the query sizes, so the sizes in the config must not limit them.
    config = replace(config, query_size=_MANY, growth=1.0, budget=_MANY, max_rounds=None, cost="units")
    bought = [row.labels_bought for row in rows]
    for end, next_query in enumerate([*np.diff(bought).tolist(), 0]):
        reason = reason_to_stop(config, rows[: end + 1], next_query, prices)
        if reason not in (None, "pool_empty"):
            return end
    return None


@dataclass(frozen=True)
class Outcome:
    """Effect of a stopping rule on one campaign.

    Shares of the whole campaign are from 0 to 1.
    """

    stopped: int | None  # index of the round, None if the rule never held
    labels: int  # bought up to that round
    points_lost: float  # percentage points of the metric, relative to the best round
    labels_saved: float
    flops_saved: float | None  # None if the rows do not record FLOPs


def outcome(rows: Sequence[Round], stopped: int | None, metric: str = on_test(PRIMARY_METRIC)) -> Outcome:
    """Return the effect of stopping after round ``stopped``; None means no stop.

    >>> facts = ({"test_accuracy": 0.7, "labels_bought": 10}, {"test_accuracy": 0.75, "labels_bought": 40})
    >>> outcome([Round(row, flops_forward_train=row["labels_bought"]) for row in facts], 0)
    Outcome(stopped=0, labels=10, points_lost=5.0, labels_saved=0.75, flops_saved=0.8)
    """
    end = len(rows) - 1 if stopped is None else stopped
    labels, all_labels = rows[end].labels_bought, rows[-1].labels_bought
    flops = [row.cost().total_flops for row in rows]
    best = max(float(row[metric]) for row in rows)
    return Outcome(
        stopped=stopped,
        labels=labels,
        points_lost=round(100 * (best - float(rows[end][metric])), 10),
        labels_saved=1 - labels / all_labels,
        flops_saved=1 - sum(flops[: end + 1]) / sum(flops) if sum(flops) else None,
    )
