"""What regions must reach against other ways to buy masks, and whether they do.

The targets and the rule by which each of them holds were committed before the judged runs.

This module has no command: see segmentation.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from harness import Row
from numpy.typing import NDArray

from dal.analysis import group_runs, paired_difference, read_run
from dal.analysis.aligned import align
from dal.analysis.comparison import areas_of
from dal.analysis.efficiency import first_crossings
from dal.analysis.grouping import Group
from dal.analysis.statistics.bootstrap import bootstrap_interval, resampled_weights
from dal.analysis.statistics.curves import mean_and_interval
from dal.analysis.statistics.paired_tests import holm, paired_p_values

Floats = NDArray[np.float64]

AXES = ("clicks", "pixels")
REGION_RANDOM, REGION_ENTROPY = "region random", "region entropy"
STRATIFIED, IMAGE_RANDOM = "region stratified", "image random"
FULL = "all masks"

MOST_SHARE = {"pixels": 0.5, "clicks": 0.8}
"""Region entropy reaches the last mIoU of region random with at most these shares of its cost.

Each holds if the mean curve over seeds does, and if region entropy is above region random at equal cost on that axis
(5 %, two-sided paired t-test, Holm).
"""
MARGIN = 1.0
"""Points of mean mIoU at equal clicks by which the stratified regions may be below whole random images.

They are not below if that is significant (5 %, one-sided paired t-test, Holm).
"""
MOST_CPU_SECONDS = 120.0
"""CPU seconds of any campaign, from the start of its process to its end."""
LEAST_FULL = 0.70
"""Mean mIoU of the training with all masks."""
LEVEL = 0.05


@dataclass(frozen=True, eq=False)
class Curves:
    """The runs of a contender on one axis."""

    runs: Group
    cost: Floats  # (S, R)
    miou: Floats  # (S, R), as a fraction

    def group(self, name: str) -> Group:
        """Return the runs under another name."""
        return replace(self.runs, acquisition=name, settings="", note="")


def curves_of(folders: Sequence[Path], axis: str) -> Curves:
    runs = [read_run(folder) for folder in folders]
    (group,) = group_runs(runs, axis=axis)
    cost = np.array([[row.spent(axis) for row in run.rows] for run in group.runs], dtype=np.float64)
    return Curves(group, cost, np.array([run.curve for run in group.runs]))


def areas(one: Curves, other: Curves) -> tuple[Floats, Floats]:
    """Return the mean mIoU of each seed in percent, over the costs that all runs of both have."""
    _, _, aligned = align([one.runs, other.runs])
    first, second = (100 * areas_of(group) for group in aligned)
    return first, second


def share_to_reach(curves: Curves, baseline: Curves) -> tuple[float, tuple[float, float]]:
    """Return the cost at which the mean curve reaches the last mIoU of the baseline, as a share of its last cost.

    A round of the mean curve is at its mean cost. The second value is the 95 % bootstrap interval over seeds, with the
    same seeds for both. Infinite where the curve never gets there.
    """
    seeds = len(curves.cost)
    weights = np.vstack([np.full(seeds, 1 / seeds), resampled_weights(seeds)])  # the mean first
    reached = first_crossings(weights @ curves.cost, weights @ curves.miou, weights @ baseline.miou[:, -1])
    shares = reached / (weights @ baseline.cost[:, -1])
    return float(shares[0]), bootstrap_interval(shares[1:], seeds)


def not_below(one: Floats, other: Floats, margin: float) -> float:
    """Return the p-value of the one-sided paired t-test that ``one`` is less than ``margin`` below ``other``."""
    gain = one - other + margin
    p = float(paired_p_values(gain, np.zeros_like(gain)))
    return p / 2 if gain.mean() > 0 else 1 - p / 2


def against(curves: Mapping[str, Curves], baseline: str) -> dict[str, str]:
    """Return the difference of each other campaign from the baseline at equal cost, bold if it is significant."""
    others = [name for name in curves if name not in (baseline, FULL)]
    pairs = [areas(curves[name], curves[baseline]) for name in others]
    p_values = holm([float(paired_p_values(*pair)) for pair in pairs])
    texts = {}
    for name, pair, p in zip(others, pairs, p_values, strict=True):
        mean, half = paired_difference(pair[0].tolist(), pair[1].tolist())
        text = f"{mean:+.1f} ± {half:.1f}"
        texts[name] = f"**{text}**" if p < LEVEL else text
    return texts


def judged(by_axis: Mapping[str, Mapping[str, Curves]], cpu: Mapping[str, Sequence[float | None]]) -> list[Row]:
    """Return a row per target: required, measured, and HOLDS or MISSES."""
    clicks = by_axis["clicks"]
    gains = {axis: areas(own[REGION_ENTROPY], own[REGION_RANDOM]) for axis, own in by_axis.items()}
    stratified = areas(clicks[STRATIFIED], clicks[IMAGE_RANDOM])
    p_values = [float(paired_p_values(*gains[axis])) for axis in MOST_SHARE]
    corrected = holm([*p_values, not_below(*stratified, MARGIN)])
    rows: list[Row] = []
    for (axis, most), p in zip(MOST_SHARE.items(), corrected, strict=False):
        found, (low, high) = share_to_reach(by_axis[axis][REGION_ENTROPY], by_axis[axis][REGION_RANDOM])
        mean, half = paired_difference(*(one.tolist() for one in gains[axis]))
        won = int((gains[axis][0] > gains[axis][1]).sum())
        measured = f"{found:.0%} ({low:.0%} to {high:.0%}); at equal {axis} {mean:+.1f} ± {half:.1f} points"
        rows.append(
            _row(
                f"{REGION_ENTROPY} reaches the last mIoU of {REGION_RANDOM} with at most {most:.0%} of its {axis}",
                measured,
                f"above it in {won} of {len(gains[axis][0])} seeds",
                p,
                found <= most and mean > 0 and p < LEVEL,
            )
        )
    mean, half = paired_difference(*(one.tolist() for one in stratified))
    won = int((stratified[0] > stratified[1]).sum())
    rows.append(
        _row(
            f"{STRATIFIED} is not below {IMAGE_RANDOM} at equal clicks (margin {MARGIN:g} points)",
            f"{mean:+.1f} ± {half:.1f} points",
            f"above it in {won} of {len(stratified[0])} seeds",
            corrected[-1],
            bool(corrected[-1] < LEVEL),
        )
    )
    return [*rows, _cpu_row(cpu), _full_row(by_axis[AXES[0]][FULL])]


def _cpu_row(cpu: Mapping[str, Sequence[float | None]]) -> Row:
    known = [seconds for name, group in cpu.items() if name != FULL for seconds in group if seconds is not None]
    most = max(known, default=np.nan)
    count = sum(len(group) for name, group in cpu.items() if name != FULL)
    return _row(
        f"each campaign takes less than {MOST_CPU_SECONDS:g} CPU seconds",
        f"at most {most:.0f}, median {np.median(known) if known else np.nan:.0f}",
        f"{sum(seconds < MOST_CPU_SECONDS for seconds in known)} of {count} campaigns; {count - len(known)} not timed",
        None,
        most < MOST_CPU_SECONDS,
    )


def _full_row(full: Curves) -> Row:
    last = full.miou[:, -1]
    mean, half = mean_and_interval(100 * last)
    return _row(
        f"{FULL}, with the updates of a campaign, reach {100 * LEAST_FULL:g} % mIoU",
        f"{mean:.1f} ± {half:.1f} %",
        f"{int((last >= LEAST_FULL).sum())} of {len(last)} seeds",
        None,
        bool(last.mean() >= LEAST_FULL),
    )


def _row(required: str, measured: str, counts: str, p: Any, holds: bool) -> Row:
    shown = None if p is None or np.isnan(p) else float(p)
    verdict = "HOLDS" if holds else "MISSES"
    return {"target": required, "measured": measured, "counts": counts, "p": shown, "verdict": verdict}
