"""Labels and money to reach an accuracy, measured or forecast."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dal.analysis.axis import UNITS
from dal.analysis.grouping import Group
from dal.analysis.per_round import mean_costs
from dal.analysis.statistics.curves import labels_to_reach
from dal.costs.forecast import MIN_POINTS, fit_learning_curve
from dal.costs.prices import PricesConfig
from dal.runs.round import on_test

ROUNDS_OF_COMPUTE = 3


@dataclass(frozen=True)
class Reach:
    """Labels and money to reach ``target``, with 95 % intervals.

    Values are infinite if the group never reaches it, and NaN if unknown. ``forecast`` is True if it is not reached
    yet.
    """

    target: float = math.nan
    labels: float = math.nan
    labels_low: float = math.nan
    labels_high: float = math.nan
    money: float = math.nan
    money_low: float = math.nan
    money_high: float = math.nan
    forecast: bool = False


def target_of(group: Group) -> float | None:
    """Return the campaigns' target in the primary metric, or None.

    The target is a fraction.
    """
    campaign = group.runs[0].config.get("campaign") or {}
    target = campaign.get("target")
    metric = on_test(group.metric)
    return float(target) if target is not None and campaign.get("target_metric", metric) == metric else None


def reach(group: Group, target: float, prices: PricesConfig | None = None) -> Reach:
    """Return the labels and money to reach a target. On another axis, the labels are their cost.

    ``target`` is a value of the mean primary metric of a group, as a fraction.

    If the mean learning curve reaches the target, the labels come from the curve. The ends of their interval come from
    the upper and lower end of its band over seeds (NaN for one seed; infinite if the lower end does not reach the
    target). Otherwise, a curve fitted to the means forecasts them (see dal.costs.forecast, which needs at least 3
    rounds). No forecast is below the labels already bought.

    Without any accuracy, all values are NaN. Money is the cost of the mean run up to that point. Beyond the last round,
    a label costs its price and the mean compute per label of the last 3 rounds. This underestimates the cost if every
    round trains on all labels from scratch, since such rounds become more expensive.
    """
    mean, half_width = group.mean_curve
    known = ~np.isnan(mean)
    if not known.any():
        return Reach()
    # The first rounds have no accuracy if people label the test set meanwhile.
    mean, half_width, x = mean[known], half_width[known], group.labels[known].astype(np.float64)
    labels = labels_to_reach(x, mean, target)
    forecast = labels is None
    if labels is not None:
        low, high = (_end(x, mean + sign * half_width, target) for sign in (1, -1))
    elif len(x) < MIN_POINTS:
        return Reach(target, forecast=True)
    else:
        first = group.runs[0].rows[0]
        validation = first.labels_bought - first.num_labeled if group.axis == UNITS else 0
        curve = fit_learning_curve((x - validation).tolist(), mean.tolist())
        labels, low, high = (max(n + validation, float(x[-1])) for n in curve.labels_to_reach(target))
    money = [_money(group, n, prices) for n in (labels, low, high)]
    return Reach(target, labels, low, high, money[0], money[1], money[2], forecast)


def _end(x: np.ndarray, accuracy: np.ndarray, target: float) -> float:
    if np.isnan(accuracy).any():
        return math.nan
    labels = labels_to_reach(x, accuracy, target)
    return math.inf if labels is None else labels


def _money(group: Group, labels: float, prices: PricesConfig | None) -> float:
    if prices is None or math.isnan(labels):
        return math.nan
    x, spent = group.labels.astype(np.float64), mean_costs(group, prices)["money"]
    if labels <= x[-1]:
        return float(np.interp(labels, x, spent))
    start = max(len(x) - 1 - ROUNDS_OF_COMPUTE, 0)
    if start == len(x) - 1:
        return math.nan
    # The recent cost of a label includes its price and its share of the compute.
    return float(spent[-1] + (labels - x[-1]) * (spent[-1] - spent[start]) / (x[-1] - x[start]))
