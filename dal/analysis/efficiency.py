"""Labels to reach a target and label efficiency, with bootstrap intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from dal.analysis.pairing import Problem
from dal.analysis.statistics.bootstrap import NUM_RESAMPLES, bootstrap_interval, resampled_weights
from dal.errors import bad_value

Floats = NDArray[np.float64]


def first_crossings(x: ArrayLike, curves: ArrayLike, targets: ArrayLike) -> Floats:
    """Return where each curve first reaches its target.

    This is a vectorized labels_to_reach().

    x: (T,) labels, increasing, or (R, T) labels of each curve; curves: (R, T), interpolated linearly; targets: (R,) or
    one number. Returns (R,), infinite if a curve never reaches its target. A curve that starts at or above the target
    reaches it at its first point.

    >>> first_crossings([10, 20, 40], [[50, 70, 90], [50, 60, 70]], 80).tolist()
    [30.0, inf]
    """
    xs, ys = np.asarray(x, dtype=np.float64), np.asarray(curves, dtype=np.float64)
    if ys.ndim != 2 or xs.shape not in (ys.shape, ys.shape[1:]):
        raise bad_value("curves", f"shape (R, {xs.shape[-1]})", ys.shape)
    xs = np.broadcast_to(xs, ys.shape)
    goal = np.broadcast_to(np.asarray(targets, dtype=np.float64), len(ys))
    reached = ys >= goal[:, None]
    i = reached.argmax(axis=1)
    before, rows = np.maximum(i - 1, 0), np.arange(len(ys))
    rise = ys[rows, i] - ys[rows, before]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(i == 0, 0.0, (goal - ys[rows, before]) / rise)
    found = xs[rows, before] + share * (xs[rows, i] - xs[rows, before])
    return np.where(reached.any(axis=1), found, np.inf)


def efficiency_table(
    problem: Problem,
    targets: Sequence[float] = (),
    baseline: str | None = None,
    num_resamples: int = NUM_RESAMPLES,
) -> pd.DataFrame:
    """Return labels to each target, one row per target and function.

    ``targets`` are test accuracies, as fractions. By default, the target is the mean accuracy of the baseline at its
    last labels. Without a baseline, it is the lowest such mean of any function, so that every function reaches it.
    Columns:

    - ``problem``, ``function``, ``target``, ``rule``: "given", or how the target was chosen
    - ``labels``, ``labels_low``, ``labels_high``: where the mean curve over seeds first reaches the target, and the
      ends of the 95 % bootstrap interval (see bootstrap_interval; NaN for one seed). Infinite if it never does
    - ``efficiency``, ``efficiency_low``, ``efficiency_high``: labels that the baseline needs over labels that the
      function needs, so 2 is half the labels. 0 if only the function never reaches the target, infinite if only the
      baseline never does, NaN if neither does or without a baseline

    Each resample draws seeds, the same for function and baseline, and applies the rule for the target again. If neither
    reaches the target in a resample, its efficiency is unknown, and bootstrap_interval treats it as such. Raises
    DalError for a target outside (0, 1].
    """
    for target in targets:
        if not 0 < target <= 1:
            raise bad_value("target", "a fraction from 0 to 1, such as 0.95", target)
    seeds = len(problem.seeds)
    weights = np.vstack([np.full(seeds, 1 / seeds), resampled_weights(seeds, num_resamples)])
    curves = {function.name: weights @ function.accuracy for function in problem.functions}  # the mean first
    goals: list[tuple[str, Floats]] = [("given", np.full(len(weights), target)) for target in targets]
    if not targets:
        rule, chosen = f"last mean of {baseline}", [baseline] if baseline else list(curves)
        if not baseline:
            rule = "lowest last mean of a function"
        goals = [(rule, np.min([curves[name][:, -1] for name in chosen], axis=0))]
    rows = []
    for rule, goal in goals:
        # The curve that sets the target reaches it; rounding must not change that.
        labels = {name: first_crossings(problem.labels, curve, goal - 1e-12).round(6) for name, curve in curves.items()}
        for name in problem.names:
            ratios = _ratios(labels[baseline], labels[name]) if baseline else np.full(len(weights), np.nan)
            rows.append(
                {"problem": problem.name, "function": name, "target": float(goal[0]), "rule": rule}
                | _columns("labels", labels[name], seeds, 0.0)
                | _columns("efficiency", ratios, seeds, 0.0)
            )
    return pd.DataFrame(rows)


def _ratios(baseline: Floats, function: Floats) -> Floats:
    with np.errstate(invalid="ignore"):
        return baseline / function  # inf / inf is NaN, as intended


def _columns(name: str, values: Floats, num_seeds: int, least: float) -> dict[str, float]:
    low, high = math.nan, math.nan
    if len(values) > 1 and not np.isnan(values).all():
        low, high = bootstrap_interval(values[1:], num_seeds)
    return {name: float(values[0]), f"{name}_low": max(low, least), f"{name}_high": high}
