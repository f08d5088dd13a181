"""Stopping rules over what a finished campaign recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dal.costs.prices import PricesConfig, total_flops
from dal.stopping.config import CampaignConfig
from dal.stopping.rules import reason_to_stop

Row = Mapping[str, Any]
_MANY = 2**40


def replay(config: CampaignConfig, rows: Sequence[Row], prices: PricesConfig | None = None) -> int | None:
    """The index of the round after which one of ``config``'s rules would have ended the campaign of these rows, or
    None. A rule that holds only after the last round has stopped it too. Limits (max_rounds, budget, the pool's end)
    are no rules here, and the sizes are those of the rows.

    Raises DalError as reason_to_stop() does.

    >>> replay(CampaignConfig(target=0.8), [{"test_accuracy": a, "labels_bought": 1} for a in (0.7, 0.8, 0.9)])
    1
    """
    # What was bought next is known, whatever the sizes in the config.
    config = replace(config, query_size=_MANY, growth=1.0, budget=_MANY, max_rounds=None)
    bought = [row["labels_bought"] for row in rows]
    for end, next_query in enumerate([*np.diff(bought).tolist(), 0]):
        reason = reason_to_stop(config, rows[: end + 1], next_query, prices)
        if reason not in (None, "pool_empty"):
            return end
    return None


@dataclass(frozen=True)
class Outcome:
    """What a rule would have done to one campaign. Shares are of the whole campaign, from 0 to 1."""

    stopped: int | None  # index of the round, None where the rule never held
    labels: int  # bought until then
    points_lost: float  # of accuracy, against the campaign's best round
    labels_saved: float
    flops_saved: float | None  # None where the rows do not count them


def outcome(rows: Sequence[Row], stopped: int | None, metric: str = "test_accuracy") -> Outcome:
    """The consequences of stopping after that round; None runs to the end.

    >>> rows = [{"test_accuracy": a, "labels_bought": n, "flops_forward_train": n} for a, n in ((0.7, 10), (0.75, 40))]
    >>> outcome(rows, 0)
    Outcome(stopped=0, labels=10, points_lost=5.0, labels_saved=0.75, flops_saved=0.8)
    """
    end = len(rows) - 1 if stopped is None else stopped
    labels, all_labels = int(rows[end]["labels_bought"]), int(rows[-1]["labels_bought"])
    flops = [total_flops(row) for row in rows]
    best = max(float(row[metric]) for row in rows)
    return Outcome(
        stopped=stopped,
        labels=labels,
        points_lost=round(100 * (best - float(rows[end][metric])), 10),
        labels_saved=1 - labels / all_labels,
        flops_saved=1 - sum(flops[: end + 1]) / sum(flops) if sum(flops) else None,
    )
