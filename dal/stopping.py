"""When to end a campaign: pure functions of the records so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dal.errors import DalError, bad_value, unknown_choice

Row = Mapping[str, Any]
INITIAL_SETS = ("random", "balanced")
TARGET_METRICS = ("test_accuracy", "test_balanced_accuracy", "val_accuracy")


@dataclass
class CampaignConfig:
    """What a campaign buys, in which portions, and when it ends. Sizes are in labels.

    Validation labels are bought like all others and count towards ``budget``.
    """

    initial_size: int = 100
    initial: str = "random"  # random, or balanced by class
    query_size: int = 100
    growth: float = 1.0  # each query is so many times as large as the one before
    budget: int = 1000
    validation_size: int = 0
    max_rounds: int | None = None  # rounds of training, the initial one included
    target: float | None = None  # ends when target_metric reaches it
    target_metric: str = "test_accuracy"  # also watched for the plateau
    plateau_rounds: int | None = None  # ends when so many rounds brought no gain of plateau_delta
    plateau_delta: float = 0.001

    def __post_init__(self) -> None:
        for name in ("initial_size", "query_size", "budget"):
            if getattr(self, name) < 1:
                raise bad_value(f"campaign.{name}", "at least 1", getattr(self, name))
        if self.validation_size < 0:
            raise bad_value("campaign.validation_size", "at least 0", self.validation_size)
        if self.growth < 1:
            raise bad_value("campaign.growth", "at least 1", self.growth)
        for optional in ("max_rounds", "plateau_rounds"):
            value = getattr(self, optional)
            if value is not None and value < 1:
                raise bad_value(f"campaign.{optional}", "at least 1, or null", value)
        if self.target_metric not in TARGET_METRICS:
            raise unknown_choice("campaign.target_metric", TARGET_METRICS, self.target_metric)
        if self.target is not None and not 0 < self.target <= 1:
            raise bad_value("campaign.target", "a share from 0 to 1, such as 0.95, or null", self.target)
        if self.initial not in INITIAL_SETS:
            raise unknown_choice("campaign.initial", INITIAL_SETS, self.initial)
        if self.initial_size + self.validation_size > self.budget:
            needed = self.initial_size + self.validation_size
            raise bad_value("campaign.budget", f"at least the {needed} initial and validation labels", self.budget)

    def size_of_query(self, round: int) -> int:
        """Labels to buy before this round, as far as budget and pool allow. Round 0 is the initial set."""
        return self.initial_size if round == 0 else int(self.query_size * self.growth ** (round - 1) + 0.5)


def check_sizes(config: CampaignConfig, num_points: int) -> None:
    """Raise DalError unless a pool of so many points holds the validation set, the initial set and a first query."""
    for name, taken in (("validation_size", 0), ("initial_size", config.validation_size)):
        if getattr(config, name) > num_points - taken:
            expected = f"at most the {num_points - taken} points of the pool"
            raise bad_value(f"campaign.{name}", expected, getattr(config, name))
    left = num_points - config.validation_size - config.initial_size
    bought = config.validation_size + config.initial_size
    if left and config.max_rounds != 1 and bought < config.budget and config.query_size > left:
        raise bad_value(
            "campaign.query_size", f"at most the {left} points that the initial set leaves", config.query_size
        )


def check_metric(config: CampaignConfig, has_test: bool) -> None:
    """Raise DalError where the campaign would end on a metric that nothing measures."""
    if config.target is None and config.plateau_rounds is None:
        return
    missing = not has_test if config.target_metric.startswith("test") else not config.validation_size
    if missing:
        raise bad_value(
            "campaign.target_metric", "a metric that is measured (no test or validation set)", config.target_metric
        )


def next_query_size(config: CampaignConfig, round: int, labels_bought: int, num_unlabeled: int) -> int:
    """What the next round can buy; 0 where budget or pool are at their end.

    >>> next_query_size(CampaignConfig(budget=250), 2, labels_bought=200, num_unlabeled=1000)
    50
    """
    return max(0, min(config.size_of_query(round), config.budget - labels_bought, num_unlabeled))


def largest_query(config: CampaignConfig, num_points: int) -> int:
    """The most labels that a round after the initial one buys of a pool of so many points; 0 if there is none.

    >>> largest_query(CampaignConfig(initial_size=100, query_size=100, growth=2, budget=600), num_points=1000)
    200
    """
    bought, largest, round = config.initial_size + config.validation_size, 0, 1
    while config.max_rounds is None or round < config.max_rounds:
        size = next_query_size(config, round, bought, num_points - bought)
        if not size:
            break
        bought, largest, round = bought + size, max(largest, size), round + 1
    return largest


def reason_to_stop(config: CampaignConfig, rows: Sequence[Row], num_unlabeled: int) -> str | None:
    """Why the campaign ends after the last of these rounds: target, plateau, rounds, budget or pool_empty; or None."""
    last = rows[-1]
    if config.target is not None and _metric(config, last) >= config.target:
        return "target"
    if config.plateau_rounds is not None and plateaued(
        [_metric(config, row) for row in rows], config.plateau_rounds, config.plateau_delta
    ):
        return "plateau"
    if config.max_rounds is not None and len(rows) >= config.max_rounds:
        return "rounds"
    if num_unlabeled == 0:
        return "pool_empty"
    if last["labels_bought"] >= config.budget:
        return "budget"
    return None


def plateaued(values: Sequence[float], num_rounds: int, delta: float) -> bool:
    """Whether the best of the last ``num_rounds`` values gains less than ``delta`` over the best before them.

    >>> plateaued([0.5, 0.8, 0.8, 0.8], 2, 0.01), plateaued([0.5, 0.8, 0.8, 0.9], 2, 0.01)
    (True, False)
    """
    if len(values) <= num_rounds:
        return False
    return max(values[-num_rounds:]) - max(values[:-num_rounds]) < delta


def _metric(config: CampaignConfig, row: Row) -> float:
    value = row.get(config.target_metric)
    if not isinstance(value, int | float):
        known = [k for k, v in row.items() if isinstance(v, float) and not k.startswith("seconds")]
        raise DalError(
            f"campaign.target_metric: expected one of {', '.join(known) or 'the metrics of a test set'}, got "
            f"{config.target_metric!r}."
        )
    return float(value)
