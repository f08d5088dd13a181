"""Summary statistics, one row per group of runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pandas as pd

from dal.analysis.axis import UNITS, bought, noun, records
from dal.analysis.final_model_costs import with_final_model
from dal.analysis.grouping import Group, group_runs, num_common_rounds
from dal.analysis.per_round import mean_costs
from dal.analysis.statistics.curves import area_under_curve, mean_and_interval, paired_difference
from dal.analysis.targets import Reach, reach, target_of
from dal.costs.kinds import KINDS, cost_key
from dal.costs.prices import PricesConfig
from dal.runs.reader import Run
from dal.runs.round import Round, on_test

BASELINE = "random"


def summarize_runs(
    runs: Iterable[Run],
    prices: PricesConfig | None = None,
    target: float | None = None,
    untested: bool = False,
    axis: str = UNITS,
) -> pd.DataFrame:
    """Return summary statistics, one row per group of runs.

    Runs of a group differ only in their seed. Rows are sorted by data set, then by final accuracy, best first.
    Accuracies are fractions. ``..._interval`` is half the width of the 95 % t interval over seeds (NaN for one seed).
    All columns cover the rounds that all runs of the group have:

    - ``data``, ``acquisition``, and ``settings``: a short name of the other differences between the runs of the data
      set. ``all_settings``: all differences
    - ``seeds``, ``rounds``, ``labels``: the number of runs, rounds, and labels bought in total, with validation. With
      another ``axis``, ``labels`` is their mean cost, ``axis`` its name, and the other columns with labels follow it
    - ``cost_images``, ``cost_pixels``, ``cost_clicks``, ``cost_seconds``: only if all runs record them: the mean cost
      of the labels
    - ``metric``: the name of the primary metric of the runs, such as ``accuracy``
    - ``test_accuracy``, ``test_accuracy_interval``: that metric after the last round; the columns carry its name
    - ``area``, ``area_interval``: the mean height of the learning curve (NaN for one round)
    - ``area_minus_random``, ``area_minus_random_interval``, ``pairs``: its difference to random with otherwise equal
      settings, over the seeds (``pairs``) and rounds that both have; NaN without such a run
    - ``seconds_train``, ``seconds_score_select``, ``seconds_total``, ``updates``: means per run; ``seconds_method``
      is the total without testing and diagnosing
    - ``flops_train`` (validation included), ``flops_score`` (selecting and embedding included), ``flops_test``,
      ``flops_diagnose``: means per run; ``flops_total`` is everything except testing and diagnosing, which measure the
      method but are not part of it. NaN if a run does not count them
    - ``test_accuracy_low``, ``test_accuracy_high``, ``num_test``: only if people labeled the test set of one run: the
      95 % Wilson interval, and the number of these labels
    - ``money_total``: the same for labels, people, devices and energy at ``prices``; NaN without. ``currency``
    - ``target``: ``target``, or else the target of the campaign; NaN without a target
    - ``labels_to_target``, ``money_to_target``, each with ``..._low`` and ``..._high``: see reach(); infinite if it is
      never reached, NaN if unknown. ``forecast``: whether it is not reached yet
    - ``final_backbone``, ``final_test_accuracy``: of the final model. All sums include its cost
    - ``note``: set if a group is limited to the rounds that all its runs have, or has unfinished runs

    With ``untested``, the accuracies of runs without a test set are NaN. Raises DalError as group_runs does.
    """
    groups = group_runs(runs, untested, axis)
    return pd.DataFrame([_line(group, _baseline(group, groups), prices, target) for group in groups])


def _line(group: Group, baseline: Group | None, prices: PricesConfig | None, target: float | None) -> dict[str, object]:
    metric = on_test(group.metric)
    final, final_interval = (values[-1] for values in group.mean_curve)
    area, area_interval = _area(group)
    difference, difference_interval, pairs, note = _difference(group, baseline)
    spent = {name: float(values[-1]) for name, values in mean_costs(group, prices).items()}
    target = target_of(group) if target is None else target
    reached = Reach() if target is None else reach(group, target, prices)
    line = {
        "data": group.data,
        "acquisition": group.acquisition,
        "settings": group.settings,
        "all_settings": "; ".join(f"{name}={value}" for name, value in group.all_settings),
        "seeds": len(group.runs),
        "rounds": len(group.labels),
        **_labels(group),
        "metric": group.metric,
        metric: float(final),
        f"{metric}_interval": float(final_interval),
        "area": area,
        "area_interval": area_interval,
        "area_minus_random": difference,
        "area_minus_random_interval": difference_interval,
        "pairs": pairs,
        "seconds_train": _mean(group, lambda row: row.cost(["train"]).seconds),
        "seconds_score_select": _mean(group, lambda row: row.cost(["score", "select"]).seconds),
        "seconds_total": _mean(group, lambda row: row.cost().seconds),
        "updates": _mean(group, lambda row: row.updates),
        "seconds_method": spent["seconds"],
        "flops_train": spent["flops_train"],
        "flops_score": spent["flops_score"],
        "flops_test": spent["flops_test"],
        "flops_diagnose": spent["flops_diagnose"],
        "flops_total": spent["flops_total"],
        "money_total": spent["money"],
        "currency": "" if prices is None else prices.currency,
        "target": reached.target,
        "labels_to_target": reached.labels,
        "labels_to_target_low": reached.labels_low,
        "labels_to_target_high": reached.labels_high,
        "money_to_target": reached.money,
        "money_to_target_low": reached.money_low,
        "money_to_target_high": reached.money_high,
        "forecast": reached.forecast,
        "final_backbone": None,
        f"final_{metric}": np.nan,
        "note": "; ".join(filter(None, [group.note, note])),
    }
    return with_final_model(line | _of_bought_test_set(group), group, prices)


def _labels(group: Group) -> dict[str, object]:
    last = len(group.labels) - 1
    kinds = [kind for kind in KINDS if kind != UNITS and all(records(run, kind) for run in group.runs)]
    costs = {cost_key(kind): float(np.mean([run.rows[last].spent(kind) for run in group.runs])) for kind in kinds}
    if group.axis == UNITS:
        return {"labels": int(group.labels[-1]), **costs}
    return {"labels": float(group.labels[-1]), "axis": group.axis, **costs}


def _of_bought_test_set(group: Group) -> dict[str, object]:
    intervals, metric = group.test_intervals, on_test(group.metric)
    if intervals is None or np.isnan(intervals[:, -1]).any():
        return {}
    low, high = map(float, intervals[:, -1])
    tested = group.runs[0].rows[len(group.labels) - 1].num_test
    return {f"{metric}_low": low, f"{metric}_high": high, "num_test": tested}


def _area(group: Group) -> tuple[float, float]:
    if len(group.labels) < 2 or np.isnan(group.accuracy).any():
        return np.nan, np.nan
    mean, half_width = mean_and_interval(_areas(group, group.seeds, len(group.labels)))
    return float(mean), float(half_width)


def _areas(group: Group, seeds: Iterable[int], num_rounds: int) -> list[float]:
    """Return one area per seed, over the first rounds."""
    places = [group.seeds.index(seed) for seed in seeds]
    xs = [bought(group.runs[place], group.axis)[:num_rounds] for place in places]
    return [area_under_curve(x, group.accuracy[place, :num_rounds]) for x, place in zip(xs, places, strict=True)]


def _areas_between(group: Group, seeds: Iterable[int], low: float, high: float) -> list[float]:
    """Return one area per seed, over a part of the axis."""
    areas = []
    for place in map(group.seeds.index, seeds):
        x = bought(group.runs[place], group.axis)[: len(group.labels)]
        ends = np.unique(np.concatenate([[low, high], x[(x > low) & (x < high)]]))
        areas.append(area_under_curve(ends, np.interp(ends, x, group.accuracy[place])))
    return areas


def _baseline(group: Group, groups: Sequence[Group]) -> Group | None:
    """Return the runs of random selection with otherwise equal settings."""
    if group.acquisition == BASELINE:
        return None
    same = (g for g in groups if g.acquisition == BASELINE and g.other_settings == group.other_settings)
    return next(same, None)


def _difference(group: Group, baseline: Group | None) -> tuple[float, float, int, str]:
    """Return the difference to the baseline.

    Returns the mean, half width, number of pairs, and a note on runs left out.
    """
    if baseline is None or any(np.isnan(one.accuracy).any() for one in (group, baseline)):
        return np.nan, np.nan, 0, ""
    seeds = sorted(set(group.seeds) & set(baseline.seeds))
    if group.axis != UNITS:
        return _difference_between(group, baseline, seeds)
    num_rounds = num_common_rounds([group.labels.tolist(), baseline.labels.tolist()])
    if not seeds or num_rounds < 2:
        return np.nan, np.nan, 0, f"no {'seed' if not seeds else 'two rounds'} in common with {BASELINE}"
    mean, half_width = paired_difference(_areas(group, seeds, num_rounds), _areas(baseline, seeds, num_rounds))
    whole = len(seeds) == len(group.seeds) and num_rounds == len(group.labels)
    extent = f"{len(seeds)} of {len(group.seeds)} seeds, up to {group.labels[num_rounds - 1]} labels"
    return mean, half_width, len(seeds), "" if whole else f"difference to {BASELINE}: {extent}"


def _difference_between(group: Group, baseline: Group, seeds: Sequence[int]) -> tuple[float, float, int, str]:
    """Return the same as _difference() for costs, which differ between runs, over the range that all of them share."""
    ranges = [
        bought(one.runs[one.seeds.index(seed)], one.axis)[: len(one.labels)]
        for one in (group, baseline)
        for seed in seeds
    ]
    low, high = max((x[0] for x in ranges), default=0.0), min((x[-1] for x in ranges), default=0.0)
    if low >= high:
        return np.nan, np.nan, 0, f"no {noun(group.axis)} in common with {BASELINE}"
    areas, others = (_areas_between(one, seeds, low, high) for one in (group, baseline))
    mean, half_width = paired_difference(areas, others)
    extent = f"{len(seeds)} of {len(group.seeds)} seeds, {low:,.0f} to {high:,.0f} {noun(group.axis)}"
    return mean, half_width, len(seeds), f"difference to {BASELINE}: {extent}"


def _mean(group: Group, number: Callable[[Round], float]) -> float:
    """Return the sum over the compared rounds, averaged over runs."""
    return float(np.mean([sum(map(number, run.rows[: len(group.labels)])) for run in group.runs]))
