"""One round of a campaign: train, test, and commit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from dal.campaign.budget import cost_row, num_affordable
from dal.campaign.diagnosed import Recorder
from dal.costs.prices import PricesConfig
from dal.data.images import ImageData
from dal.labeling.unit_costs import PoolCosts
from dal.loop import ActiveLearner
from dal.runs.records import Records
from dal.runs.round import Round
from dal.runtime.distributed import from_rank_zero, num_ranks
from dal.runtime.seeding import generator
from dal.stopping import CampaignConfig, reason_to_stop
from dal.stopping.stop_set import stop_set_facts
from dal.tasks.base import OUT_OF_CLASS
from dal.training import FitResult


@dataclass
class Setting:
    """What stays the same in all rounds of a campaign."""

    campaign: CampaignConfig
    records: Records
    test: ImageData | None
    prices: PricesConfig | None
    on_round: Callable[[Round], None]
    followed: Tensor
    """Indices of the stop set."""
    recorder: Recorder = field(default_factory=Recorder)
    """What rounds record for diagnosis."""
    costs: PoolCosts | None = None
    """What points cost; None for data without masks."""


def train_round(learner: ActiveLearner, setting: Setting, facts: Callable[[], Mapping[str, Any]] = dict) -> None:
    """Train on the labels so far, test, and commit the round.

    ``facts`` returns further entries of the row, after the round is tested.
    """
    records, recorder = setting.records, setting.recorder
    learner.logs = replace(learner.logs, folder=records.training_logs(learner.round))
    recorder.before_fit(learner, setting.test)
    result = learner.fit()
    with recorder.testing(learner, setting.followed):
        found = _tested(learner, setting.test)
        if learner.validation is not None and not result.monitor.startswith("val_"):
            found |= _validated(learner)
        if len(setting.followed):
            found |= stop_set_facts(learner.follow(setting.followed), learner.data.task)
    recorder.keep(learner, result, setting.followed)
    with learner.ledger.phase("checkpoint"):
        records.keep_weights(learner.model.module.state_dict())
    row = _row(learner, result, {**cost_row(learner, setting.costs), **found})
    row.update(facts())
    # A campaign of people that has ended stays ended, also if they change labels and it trains again.
    reason = records.rows[-1].campaign_stopped if records.rows else None
    affordable = num_affordable(learner, setting.campaign, setting.costs)
    rows, unlabeled = [*records.rows, row], learner.pool.num_unlabeled
    reason = reason or reason_to_stop(setting.campaign, rows, unlabeled, setting.prices, affordable)
    # Measured seconds differ between processes, and all must stop after the same round.
    row["campaign_stopped"] = from_rank_zero(reason)
    records.commit_round(row)
    setting.on_round(records.rows[-1])


def _tested(learner: ActiveLearner, test: ImageData | None) -> dict[str, Any]:
    if test is not None:
        return learner.evaluate(test).row("test")
    metrics = learner.test_metrics()
    return {} if metrics is None else metrics.row("test")


def _validated(learner: ActiveLearner) -> dict[str, float]:
    """Return metrics on validation points that training did not monitor."""
    assert learner.validation is not None
    points = learner.data.trainable(learner.validation)
    if not len(points[0]):
        return {}
    metrics = learner.measure(learner.data, points, "validate")
    return {f"val_{name}": metrics[name] for name in (learner.data.task.primary_metric, "loss")}


def _outside(learner: ActiveLearner) -> dict[str, int]:
    """Return the number of out-of-class labels, if the data has such images."""
    # Only classification has such labels.
    if not bool((learner.data.labels == OUT_OF_CLASS).any()):
        return {}
    held = [points[1] for points in (learner.validation, learner.test) if points is not None]
    told = [learner.pool.labels(learner.pool.labeled), *held]
    return {"num_outside": sum(int((labels == OUT_OF_CLASS).sum()) for labels in told)}


def _row(learner: ActiveLearner, result: FitResult, found: Mapping[str, Any]) -> Round:
    return Round(
        {
            "round": learner.round,
            "num_labeled": learner.pool.num_labeled,
            "num_validation": 0 if learner.validation is None else len(learner.validation[0]),
            **({} if learner.test is None else {"num_test": len(learner.test[0])}),
            "labels_bought": learner.labels_bought,
            **_outside(learner),
            **found,
            "warm_start": result.start,
            **result.row(),
            **learner.ledger.row(),
            "devices": num_ranks(),
        }
    )


def drawn(learner: ActiveLearner, size: int, purpose: str) -> list[int]:
    """Return a random sample of the pool for a purpose, such as ``test``."""
    order = torch.randperm(learner.pool.num_unlabeled, generator=generator(learner.seed, purpose))
    indices: list[int] = learner.pool.unlabeled[order[:size]].tolist()
    return indices
