"""The settings of a campaign."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

from dal.errors import bad_value, unknown_choice
from dal.labeling.initial_set import INITIAL_SETS

TARGET_METRICS = ("test_accuracy", "test_balanced_accuracy", "val_accuracy")
# With fewer points than that a fitted curve is the prior's word more than the points'.
MIN_ROUNDS_OF_COST = 4


@dataclass
class CampaignConfig:
    """What a campaign buys, in which portions, and when it ends. Sizes are in labels.

    Validation labels are bought like all others and count towards ``budget``. The rules of the stop set follow the
    model's predictions of ``stop_set_size`` fixed points, whose labels nobody needs to know.
    """

    initial_size: int = 100
    initial: str = "random"  # random, or balanced by class
    query_size: int = 100
    growth: float = 1.0  # each query is so many times as large as the one before
    budget: int = 1000
    validation_size: int = 0
    max_rounds: int | None = None  # rounds of training, the initial one included
    target: float | None = None  # ends when target_metric reaches it
    target_metric: str = "test_accuracy"  # also watched for the plateau and the cost optimum
    plateau_rounds: int | None = None  # ends when so many rounds brought no gain of plateau_delta
    plateau_delta: float = 0.001
    stop_set_size: int = 500  # points whose predictions are followed; 0: none
    kappa: float | None = None  # ends when the last kappa_rounds models agree so well on the stop set, such as 0.99
    kappa_rounds: int = 3
    max_change: float | None = None  # ends when at most this share of its predictions changed in a round
    max_uncertainty: float | None = None  # ends when its mean entropy, from 0 to 1, is at most that
    cost_optimum: bool = False  # ends when the next round costs more than its gain is worth; needs prices

    def __post_init__(self) -> None:
        for name in ("initial_size", "query_size", "budget"):
            if getattr(self, name) < 1:
                raise bad_value(f"campaign.{name}", "at least 1", getattr(self, name))
        for name in ("validation_size", "stop_set_size"):
            if getattr(self, name) < 0:
                raise bad_value(f"campaign.{name}", "at least 0", getattr(self, name))
        if not 1 <= self.growth < math.inf:
            raise bad_value("campaign.growth", "at least 1", self.growth)
        for optional in ("max_rounds", "plateau_rounds"):
            value = getattr(self, optional)
            if value is not None and value < 1:
                raise bad_value(f"campaign.{optional}", "at least 1, or null", value)
        if not math.isfinite(self.plateau_delta):
            raise bad_value("campaign.plateau_delta", "a number", self.plateau_delta)
        if self.target_metric not in TARGET_METRICS:
            raise unknown_choice("campaign.target_metric", TARGET_METRICS, self.target_metric)
        if self.target is not None and not 0 < self.target <= 1:
            raise bad_value("campaign.target", "a share from 0 to 1, such as 0.95, or null", self.target)
        if self.initial not in INITIAL_SETS:
            raise unknown_choice("campaign.initial", INITIAL_SETS, self.initial)
        if self.initial_size + self.validation_size > self.budget:
            needed = self.initial_size + self.validation_size
            raise bad_value("campaign.budget", f"at least the {needed} initial and validation labels", self.budget)
        self._check_stop_set()
        if self.cost_optimum and self.max_rounds is not None and self.max_rounds < MIN_ROUNDS_OF_COST:
            expected = f"at least {MIN_ROUNDS_OF_COST}, or null, for campaign.cost_optimum"
            raise bad_value("campaign.max_rounds", expected, self.max_rounds)

    def _check_stop_set(self) -> None:
        if self.kappa is not None and not 0 < self.kappa <= 1:
            raise bad_value("campaign.kappa", "more than 0 and at most 1, such as 0.99, or null", self.kappa)
        if self.kappa_rounds < 2:
            raise bad_value("campaign.kappa_rounds", "at least 2", self.kappa_rounds)
        for name in ("max_change", "max_uncertainty"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise bad_value(f"campaign.{name}", "a share from 0 to 1, or null", value)
        for name in ("kappa", "max_change", "max_uncertainty"):
            if getattr(self, name) is not None and not self.stop_set_size:
                raise bad_value("campaign.stop_set_size", f"at least 1 for campaign.{name}", self.stop_set_size)

    def size_of_query(self, round: int) -> int:
        """Labels to buy before this round, as far as budget and pool allow. Round 0 is the initial set."""
        if round == 0:
            return self.initial_size
        try:
            return int(self.query_size * self.growth ** (round - 1) + 0.5)
        except OverflowError:
            return sys.maxsize  # more than any budget
