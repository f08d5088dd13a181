"""Orders of the same labels, and whether the order made a difference."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from dal.analysis.statistics.curves import mean_and_interval
from dal.analysis.statistics.paired_tests import holm, paired_differences, paired_p_values

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RANDOM, AT_ONCE = "random", "at_once"
ORDERS = {
    "acquired": "as acquired",
    RANDOM: "in random order",
    "reversed": "in reverse",
    "easy_first": "easy first",
    "hard_first": "hard first",
    "by_class": "class by class",
    AT_ONCE: "all at once",
}
"""The orders, and how a sentence names them. Random order is what the others are compared with."""

MARGIN = 0.005
"""Accuracies that differ by less are equivalent."""
ALPHA = 0.05
LEAST_SEEDS = 5
LEAST_FOR_INTERVAL = 3
"""With two seeds, a t interval is 13 times as wide as the difference between them, and says nothing."""
INTERVAL = "half the width of the 95 % t interval of the paired differences over seeds, one order at a time"


def permutation(order: str, labels: Ints, ease: Floats | None, seed: int) -> Ints:
    """Return positions of labels in an order.

    labels: (L,) in the order of the run. ease: (L,) mean probability of each label over the rounds that trained on it;
    only ``easy_first`` and ``hard_first`` read it. ``seed`` is that of random order.

    >>> permutation("by_class", np.array([1, 0, 1, 0]), None, 0).tolist()
    [1, 3, 0, 2]
    """
    positions = np.arange(len(labels))
    if order == RANDOM:
        return np.random.default_rng([seed, len(labels)]).permutation(len(labels))
    if order == "reversed":
        return positions[::-1]
    if order == "by_class":
        return np.argsort(labels, kind="stable")
    if order in ("easy_first", "hard_first"):
        assert ease is not None
        return np.argsort(-ease if order == "easy_first" else ease, kind="stable")
    return positions


@dataclass(frozen=True)
class OrderEffect:
    """The final accuracy of an order and its difference to random order, as shares."""

    order: str
    final: float
    on_the_way: float
    """Mean accuracy over the rounds; NaN for all labels at once."""
    difference: float
    half_width: float
    """Of the 95 % t interval of the paired differences; NaN with fewer than LEAST_FOR_INTERVAL seeds."""
    p: float
    """Two-sided paired t test, with Holm's correction over the orders; NaN where ``half_width`` is."""
    p_equivalent: float
    """The larger p of two one-sided t tests that the difference is within the margin."""

    @property
    def differs(self) -> bool:
        return self.p < ALPHA

    @property
    def is_equivalent(self) -> bool:
        return self.p_equivalent < ALPHA


def effects(curves: Mapping[str, Floats]) -> list[OrderEffect]:
    """Compare the final accuracies of each order with random order.

    curves: (S, R) accuracies by order, with the same S seeds; R is 1 for all labels at once.
    """
    final = {order: curve[:, -1] for order, curve in curves.items()}
    others = [order for order in curves if order != RANDOM]
    adjusted = holm([float(paired_p_values(final[order], final[RANDOM])) for order in others])
    found = []
    for order, curve in curves.items():
        way = float(curve.mean()) if curve.shape[1] > 1 else math.nan
        if order == RANDOM:
            found.append(OrderEffect(order, float(final[order].mean()), way, 0.0, 0.0, math.nan, math.nan))
            continue
        differences = paired_differences(final[order], final[RANDOM])
        is_enough = len(differences) >= LEAST_FOR_INTERVAL
        mean, width = mean_and_interval(differences)
        half = float(width) if is_enough else math.nan
        p = float(adjusted[others.index(order)]) if is_enough else math.nan
        equivalent = p_of_equivalence(differences, MARGIN)
        found.append(OrderEffect(order, float(final[order].mean()), way, float(mean), half, p, equivalent))
    return found


def difference_of(effect: OrderEffect) -> str:
    """Return a difference in points with its interval, for a table.

    >>> difference_of(OrderEffect("reversed", 0.9, 0.8, 0.0012, 0.0034, 0.5, 0.2))
    '+0.12 ± 0.34'
    """
    spread = "" if math.isnan(effect.half_width) else f" ± {100 * effect.half_width:.2f}"
    return f"{100 * effect.difference:+.2f}{spread}"


def common_seeds(done: Mapping[tuple[str, int], Sequence[float]]) -> dict[str, Floats]:
    """Return (S, R) accuracies by order, of the seeds that all orders have; empty without such a seed or random order.

    >>> sorted(common_seeds({("random", 0): [0.5], ("random", 1): [0.6], ("reversed", 1): [0.7]}))
    ['random', 'reversed']
    """
    seeds: dict[str, set[int]] = {}
    for order, seed in done:
        seeds.setdefault(order, set()).add(seed)
    shared = sorted(set.intersection(*seeds.values())) if seeds else []
    if not shared or RANDOM not in seeds:
        return {}
    return {order: np.array([done[order, seed] for seed in shared]) for order in ORDERS if order in seeds}


def p_of_equivalence(differences: Floats, margin: float) -> float:
    """Return the p-value of two one-sided t tests (Schuirmann, 1987) that a mean is within ``margin`` of 0.

    differences: (S,). NaN for a single pair.

    >>> round(p_of_equivalence(np.array([0.001, -0.001, 0.0, 0.002]), 0.005), 4)
    0.003
    """
    if len(differences) < 2:
        return math.nan
    error = float(differences.std(ddof=1)) / math.sqrt(len(differences))
    mean = float(differences.mean())
    if error == 0:
        return 0.0 if abs(mean) < margin else 1.0
    above = stats.t.sf((mean + margin) / error, len(differences) - 1)
    below = stats.t.cdf((mean - margin) / error, len(differences) - 1)
    return float(max(above, below))


def verdict(found: Sequence[OrderEffect], seeds: int) -> str:
    """Return one sentence about all orders. It claims nothing with fewer than ``LEAST_SEEDS`` seeds."""
    others = [one for one in found if one.order != RANDOM]
    if seeds < LEAST_SEEDS:
        few = f"{seeds} seed{'' if seeds == 1 else 's'}"
        return f"Whether the order matters cannot be told from {few}: at least {LEAST_SEEDS} are needed."
    different = [one for one in others if one.differs]
    points = f"{100 * MARGIN:g} points"
    if different:
        listed = "; ".join(
            f"{ORDERS[one.order]} {100 * one.difference:+.2f} ± {100 * one.half_width:.2f} points (p = {one.p:.2g})"
            for one in sorted(different, key=lambda one: -abs(one.difference))
        )
        return (
            f"With these labels and {seeds} seeds, the final accuracy differs from that in random order: {listed}. "
            f"Holm's correction covers {len(others)} orders."
        )
    if all(one.is_equivalent for one in others):
        return (
            f"The order made no difference larger than {points} in final accuracy ({seeds} seeds, two one-sided tests)."
        )
    open_orders = [ORDERS[one.order] for one in others if not one.is_equivalent]
    return (
        f"No order differs from random order after {seeds} seeds, but a difference of {points} is not excluded for: "
        f"{', '.join(open_orders)}."
    )
