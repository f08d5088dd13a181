"""The settings of a campaign."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import ClassVar

from dal.costs.kinds import KINDS
from dal.errors import bad_value, unknown_choice
from dal.labeling.initial_set import INITIAL_SETS
from dal.runs.round import on_test
from dal.runtime.ranges import Range, Ranges, check_ranges, share, whole
from dal.tasks import CLASSIFICATION, MULTI_LABEL, SEGMENTATION, Task

_TASKS: tuple[Task, ...] = (CLASSIFICATION, MULTI_LABEL, SEGMENTATION)


def target_metrics(task: Task) -> list[str]:
    """Return the valid values of ``target_metric`` for a task."""
    return [*(on_test(name) for name in task.rule_metrics), f"val_{task.primary_metric}"]


def _may_be_own(name: object) -> bool:
    """Whether a name can be that of a metric of the learner, which only run() knows. A misspelled one is none."""
    if not isinstance(name, str) or not name.startswith(on_test("")) or name == on_test(""):
        return False
    known = {on_test(metric) for task in _TASKS for metric in task.metric_names}
    return name not in known and not get_close_matches(name, known, cutoff=0.93)


TARGET_METRICS = tuple(name for task in _TASKS for name in target_metrics(task))
# A curve fitted to fewer points depends more on the prior than on the points.
MIN_ROUNDS_OF_COST = 4
_MOST_LABELS = 2**40


@dataclass
class CampaignConfig:
    """What a campaign buys, in which portions, and when it ends.

    Sizes are in labels. ``budget`` and ``query_size`` can be in another ``cost`` of segmentation masks. Validation and
    test labels are bought like all others and count towards ``budget``. The rules of the stop set compare the model's
    predictions on ``stop_set_size`` fixed points, whose labels are not needed.
    """

    ranges: ClassVar[Ranges] = {
        "initial_size": whole(1, _MOST_LABELS),
        "query_size": whole(1, _MOST_LABELS),
        "growth": Range(1, sys.float_info.max),
        "budget": whole(1, _MOST_LABELS),
        "validation_size": whole(0, _MOST_LABELS),
        "test_size": whole(0, _MOST_LABELS),
        "click_seconds": Range(0, 10**6, above=True),
        "max_rounds": whole(1, 10**6, null=True),
        "target": share(above=True, null=True),
        "plateau_rounds": whole(1, 10**6, null=True),
        "plateau_delta": Range(-10, 10),
        "stop_set_size": whole(0, 10**7),
        "kappa": share(above=True, null=True, noun="a number"),
        "kappa_rounds": whole(2, 1000),
        "max_change": share(null=True),
        "max_uncertainty": share(null=True),
    }

    initial_size: int = 100
    """Training labels bought before the first round."""
    initial: str = "random"
    """How the initial points are chosen: random; balanced (classes take turns, for simulations only); typiclust or
    kmeans, on the features of pre-trained model.weights or of scoring.features_file."""
    query_size: int = 100
    """Labels that the first query buys, or their cost with another campaign.cost."""
    growth: float = 1.0
    """Factor by which the query size grows each round."""
    budget: int = 1000
    """Total number of labels to buy, including initial, validation and bought test labels, or their total cost with
    another campaign.cost."""
    cost: str = "units"
    """What budget and query_size count: units, which are labels; for segmentation also images, pixels, clicks or
    seconds."""
    clicks: str | None = None
    """Function that counts the clicks of labeling a unit, as MODULE.FUNCTION; null counts one click a class and one
    every 8 pixels of border."""
    click_seconds: float = 2.0
    """Seconds of labeling that one click takes."""
    validation_size: int = 0
    """Validation labels bought at the start, drawn at random; they count towards the budget."""
    test_size: int = 0
    """Labels of a random test set that is bought first, if the data has none; they count towards the budget."""
    max_rounds: int | None = None
    """Training rounds after which the campaign ends, including the initial one; null sets no limit."""
    target: float | None = None
    """Value of target_metric, from 0 to 1, at which the campaign ends; null never ends it."""
    target_metric: str = "test_accuracy"
    """Metric for the target, the plateau and the cost optimum: test_accuracy, test_balanced_accuracy or val_accuracy;
    with multi-label data test_mean_average_precision, test_f1, test_label_accuracy or val_mean_average_precision;
    with masks test_miou, test_pixel_accuracy or val_miou; in a library also test_NAME of a metric of the learner."""
    plateau_rounds: int | None = None
    """Rounds without a gain of plateau_delta after which the campaign ends; null turns the rule off."""
    plateau_delta: float = 0.001
    """Smallest increase of target_metric that plateau_rounds counts as a gain."""
    stop_set_size: int = 500
    """Pool points whose predictions the rules kappa, max_change and max_uncertainty follow; 0 follows none."""
    kappa: float | None = None
    """Agreement (Cohen's kappa) of the last models on the stop set that ends the campaign, such as 0.99; null turns the
    rule off."""
    kappa_rounds: int = 3
    """Number of last models that kappa compares."""
    max_change: float | None = None
    """Share of changed predictions on the stop set at which, or below, the campaign ends; null turns the rule off."""
    max_uncertainty: float | None = None
    """Mean entropy on the stop set, from 0 to 1, at which, or below, the campaign ends; null turns the rule off."""
    cost_optimum: bool = False
    """Whether to end the campaign when the next round costs more than the value of its expected gain; needs prices."""

    def __post_init__(self) -> None:
        check_ranges(self, "campaign.")
        if self.target_metric not in TARGET_METRICS and not _may_be_own(self.target_metric):
            raise unknown_choice("campaign.target_metric", TARGET_METRICS, self.target_metric)
        if self.initial not in INITIAL_SETS:
            raise unknown_choice("campaign.initial", INITIAL_SETS, self.initial)
        if self.cost not in KINDS:
            raise unknown_choice("campaign.cost", KINDS, str(self.cost))
        needed = self.initial_size + self.held_out_size
        if self.cost == "units" and needed > self.budget:
            kinds = "initial, validation and test" if self.test_size else "initial and validation"
            raise bad_value("campaign.budget", f"at least the {needed} {kinds} labels", self.budget)
        self._check_stop_set()
        if self.cost_optimum and self.cost != "units":
            raise bad_value("campaign.cost", "units for campaign.cost_optimum", self.cost)
        if self.cost_optimum and self.max_rounds is not None and self.max_rounds < MIN_ROUNDS_OF_COST:
            expected = f"at least {MIN_ROUNDS_OF_COST}, or null, for campaign.cost_optimum"
            raise bad_value("campaign.max_rounds", expected, self.max_rounds)

    def _check_stop_set(self) -> None:
        for name in ("kappa", "max_change", "max_uncertainty"):
            if getattr(self, name) is not None and not self.stop_set_size:
                raise bad_value("campaign.stop_set_size", f"at least 1 for campaign.{name}", self.stop_set_size)

    @property
    def held_out_size(self) -> int:
        """Labels that are bought and never trained on."""
        return self.validation_size + self.test_size

    def size_of_query(self, round: int) -> int:
        """Return the labels to buy before this round, or what they may cost with another ``cost``.

        The budget and the pool may allow fewer. Round 0 is the initial set.
        """
        if round == 0:
            return self.initial_size
        try:
            return int(self.query_size * self.growth ** (round - 1) + 0.5)
        except OverflowError:
            return sys.maxsize  # more than any budget


def for_task(config: CampaignConfig, task: Task, own: Sequence[str] = ()) -> CampaignConfig:
    """Return the campaign with a ``target_metric`` that the task or the learner has.

    ``own`` are the names of the learner's own metrics. For tasks other than classification, the accuracy becomes the
    primary metric of the task. Raises DalError for another metric, and for a balanced initial set with such a task.

    >>> for_task(CampaignConfig(), MULTI_LABEL).target_metric
    'test_mean_average_precision'
    """
    if config.initial == "balanced" and task.name != CLASSIFICATION.name:
        raise bad_value("campaign.initial", f"random with {task.name} data", config.initial)
    allowed = [*target_metrics(task), *map(on_test, own)]
    if config.target_metric in allowed:
        return config
    split, _, name = config.target_metric.partition("_")
    if name != CLASSIFICATION.primary_metric:
        raise unknown_choice("campaign.target_metric", allowed, config.target_metric)
    return replace(config, target_metric=f"{split}_{task.primary_metric}")
