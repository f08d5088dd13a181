"""Runs a campaign until a stopping rule ends it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from dal.costs.ledger import Ledger
from dal.costs.prices import PricesConfig
from dal.data.images import ImageData
from dal.data.overlap import check_test_images
from dal.data.sources.torch_dataset import as_image_data
from dal.errors import WaitingForAnswers
from dal.labeling.oracle import Oracle
from dal.loop import ActiveLearner
from dal.runs.journal import Asked, Labeled
from dal.runs.layout import ANSWER, ANSWER_VALIDATION, DONE, SELECT
from dal.runs.records import Records
from dal.runs.round import Round
from dal.runs.settings import plain_settings
from dal.runtime.distributed import from_rank_zero, num_ranks
from dal.runtime.seeding import generator
from dal.stopping import (
    CampaignConfig,
    check_metric,
    check_sizes,
    for_task,
    largest_query,
    next_query_size,
    reason_to_stop,
)
from dal.stopping.stop_set import stop_set, stop_set_facts
from dal.tasks.base import OUT_OF_CLASS
from dal.training import FitResult
from dal.training.fit_round import check_training


def run(
    learner: ActiveLearner,
    oracle: Oracle,
    campaign: CampaignConfig | None = None,
    *,
    test: ImageData | object | None = None,
    records: Records | Callable[[], Records] | None = None,
    prices: PricesConfig | None = None,
    on_round: Callable[[Round], None] = lambda row: None,
) -> list[Round]:
    """Buy labels, train and test until a stopping rule of ``campaign`` applies.

    Returns the rows of the journal. With the records of an interrupted run, the campaign resumes and gives the same
    results. ``records`` can also be a function that opens them, which is called after all settings are checked.
    ``prices`` are for campaign.cost_optimum.

    Raises DalError, before a label is bought, for settings that conflict with each other, with the data or with a
    finished round of the records. Raises WaitingForAnswers if the oracle has no labels yet; a later call with the same
    records resumes. A warning counts and names test images that are also training images.
    """
    campaign = for_task(campaign or CampaignConfig(), learner.data.task, learner.metrics.numbers)
    test = None if test is None else _test_data(learner, test)
    answerable = torch.zeros(len(learner.data), dtype=torch.bool)
    answerable[oracle.answerable()] = True
    learner.pool.exclude((~answerable).nonzero().flatten().tolist())
    check_sizes(campaign, learner.pool.num_unlabeled)
    has_validation = campaign.validation_size > 0 or learner.validation is not None
    check_metric(campaign, test is not None, prices, has_validation)
    check_training(learner.setup, has_validation)
    learner.candidates.check(len(learner.data), largest_query(campaign, learner.pool.num_unlabeled))
    learner.initial = campaign.initial
    records = records() if callable(records) else records or Records()
    records.follow(learner.data.task.primary_metric, _settings(learner, campaign))
    learner.restore(records)
    if learner.validation is None and campaign.validation_size:
        _buy_validation(learner, oracle, campaign.validation_size, records)
    followed = stop_set(learner.pool, campaign.stop_set_size, learner.seed)
    while records.stage != DONE:
        if records.stage == SELECT:
            _ask(learner, campaign, records)
        if records.stage == ANSWER:
            answers = _answers(oracle, records)
            learner.tell([point.index for point in records.pending], answers)
            records.commit_selection(_answered(records, answers))
        learner.logs = replace(learner.logs, folder=records.training_logs(learner.round))
        result = learner.fit()
        found = {} if test is None else learner.evaluate(test).row("test")
        if learner.validation is not None and not result.monitor.startswith("val_"):
            found |= _validated(learner)
        if len(followed):
            found |= stop_set_facts(learner.predict(followed, "stop"), learner.data.task)
        with learner.ledger.phase("checkpoint"):
            records.keep_weights(learner.model.module.state_dict())
        row = _row(learner, result, found)
        reason = reason_to_stop(campaign, [*records.rows, row], learner.pool.num_unlabeled, prices)
        # Measured seconds differ between processes, and all must stop after the same round.
        row["campaign_stopped"] = from_rank_zero(reason)
        records.commit_round(row)
        on_round(records.rows[-1])
    return records.rows


def _test_data(learner: ActiveLearner, test: ImageData | object) -> ImageData:
    data = as_image_data(test, "test", learner.data.classes)
    check_test_images(learner.data, data, refuse=False)
    return data


def _settings(learner: ActiveLearner, campaign: CampaignConfig) -> dict[str, Any]:
    """Return what a resumed campaign must have in common with its records."""
    acquisition, candidates = learner.acquisition, learner.candidates
    return {
        "seed": learner.seed,
        "data": {"name": learner.data.name},
        "model": _network(learner.model.module),
        "acquisition": {"name": acquisition.name, **plain_settings(acquisition)},
        "campaign": plain_settings(campaign),
        "training": plain_settings(learner.training),
        "scoring": plain_settings(learner.scoring),
        "candidates": {"name": type(candidates).__name__, **plain_settings(candidates)},
    }


def _network(module: nn.Module) -> dict[str, Any]:
    """Return what tells reports one network from another."""
    sizes = [parameter.numel() for parameter in module.parameters() if not is_lazy(parameter)]
    return {"class": type(module).__name__, "parameters": sum(sizes)}


def _buy_validation(learner: ActiveLearner, oracle: Oracle, size: int, records: Records) -> None:
    if records.stage != ANSWER_VALIDATION:
        order = torch.randperm(learner.pool.num_unlabeled, generator=generator(learner.seed, "validation"))
        chosen = learner.pool.unlabeled[order[:size]].tolist()
        ids = [learner.data.ids[i] for i in chosen]
        records.commit_validation_query(_lines(0, chosen, ids, [None] * len(chosen)))
    answers = _answers(oracle, records)
    learner.tell_validation([point.index for point in records.pending], answers)
    records.commit_validation(_answered(records, answers))


def _ask(learner: ActiveLearner, campaign: CampaignConfig, records: Records) -> None:
    learner.ledger = Ledger()
    size = next_query_size(campaign, records.rows, learner.labels_bought, learner.pool.num_unlabeled)
    query = learner.ask(size)
    lines = _lines(len(records.rows), query.indices, query.ids, query.scores)
    records.commit_query(lines, learner.ledger.row(), learner.scores)


def _answers(oracle: Oracle, records: Records) -> list[int]:
    """Return the labels of the pending query.

    Raises WaitingForAnswers if they do not exist yet.
    """
    # Labels may arrive while processes ask, and all processes must get the same answer.
    answers = from_rank_zero(oracle([point.index for point in records.pending]))
    if answers is not None:
        return answers
    count = len(records.pending)
    labels = f"{count} label{'' if count == 1 else 's'}"
    of = "of the validation set" if records.stage == ANSWER_VALIDATION else f"of round {records.pending[0].round}"
    where = "" if records.query_path is None else f" ({records.query_path})"
    raise WaitingForAnswers(
        f"run: waiting for {labels} {of}{where}. Run the same command again once you have "
        f"{'it' if count == 1 else 'them'}."
    )


def _answered(records: Records, answers: Sequence[int]) -> list[Labeled]:
    return [point.answered(label) for point, label in zip(records.pending, answers, strict=True)]


def _validated(learner: ActiveLearner) -> dict[str, float]:
    """Return metrics on validation points that training did not monitor."""
    assert learner.validation is not None
    indices, labels = learner.data.trainable(learner.validation)
    task = learner.data.task
    metrics = task.metrics(learner.predict(indices, "validate"), labels)
    return {f"val_{name}": metrics[name] for name in (task.primary_metric, "loss")}


def _lines(round: int, indices: Sequence[int], ids: Sequence[str], scores: Sequence[float | None]) -> list[Asked]:
    return [Asked(round, rank, *point) for rank, point in enumerate(zip(indices, ids, scores, strict=True))]


def _outside(learner: ActiveLearner) -> dict[str, int]:
    """Return the number of out-of-class labels, if the data has such images."""
    # Only classification has such labels.
    if not bool((learner.data.labels == OUT_OF_CLASS).any()):
        return {}
    told = [learner.pool.labels(learner.pool.labeled), *([] if learner.validation is None else [learner.validation[1]])]
    return {"num_outside": sum(int((labels == OUT_OF_CLASS).sum()) for labels in told)}


def _row(learner: ActiveLearner, result: FitResult, found: Mapping[str, Any]) -> Round:
    return Round(
        {
            "round": learner.round,
            "num_labeled": learner.pool.num_labeled,
            "num_validation": 0 if learner.validation is None else len(learner.validation[0]),
            "labels_bought": learner.labels_bought,
            **_outside(learner),
            **found,
            "warm_start": result.start,
            **result.row(),
            **learner.ledger.row(),
            "devices": num_ranks(),
        }
    )
