"""Labels and money to reach an accuracy, measured or forecast."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dal.analysis.grouping import Group
from dal.analysis.round_costs import mean_costs
from dal.analysis.statistics.curves import labels_to_reach, mean_and_interval
from dal.costs.forecast import MIN_POINTS, fit_learning_curve
from dal.costs.prices import PricesConfig
from dal.runs.round import on_test

ROUNDS_OF_COMPUTE = 3


@dataclass(frozen=True)
class Reach:
    """Labels and money at which a group reaches ``target``, each with the ends of a 95 % interval.

    Infinite where it never does, NaN where that is not known. ``forecast`` says that it was not reached yet.
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
    """The primary metric that the campaigns of a group were to reach, as a share; None where they had no such aim."""
    campaign = group.runs[0].config.get("campaign") or {}
    target = campaign.get("target")
    metric = on_test(group.metric)
    return float(target) if target is not None and campaign.get("target_metric", metric) == metric else None


def reach(group: Group, target: float, prices: PricesConfig | None = None) -> Reach:
    """What it takes until the mean primary metric of a group is ``target``, a share.

    Where the mean learning curve has reached it, labels are read off the curve, and the ends of their interval off the
    upper and the lower end of its band over seeds (NaN for one seed; infinite where the lower end has not got there).
    Where it has not, they are forecast by a curve through the means (see dal.costs.forecast, which takes 3 rounds and
    more), and none of them is below the labels that were bought without reaching it.

    Money is what the mean run had paid by then. Beyond the last round a label costs its price, and as much compute as
    one did over the last 3 rounds. That is too little where every round trains on all labels anew, since such rounds
    become dearer.
    """
    mean, half_width = mean_and_interval(group.accuracy)
    x = group.labels.astype(np.float64)
    labels = labels_to_reach(x, mean, target)
    forecast = labels is None
    if labels is not None:
        low, high = (_end(x, mean + sign * half_width, target) for sign in (1, -1))
    elif len(x) < MIN_POINTS:
        return Reach(target, forecast=True)
    else:
        first = group.runs[0].rows[0]
        validation = first.labels_bought - first.num_labeled
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
    # What a label cost lately holds its price and its share of the compute.
    return float(spent[-1] + (labels - x[-1]) * (spent[-1] - spent[start]) / (x[-1] - x[start]))
