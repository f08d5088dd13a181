"""run(): a whole campaign, from the first labels to the reason to stop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from dal.costs.ledger import Ledger
from dal.costs.prices import PricesConfig
from dal.data.images import OUT_OF_CLASS, ImageData, with_known_class
from dal.labeling.oracle import Oracle
from dal.loop import ActiveLearner
from dal.runs.folder import Records
from dal.runs.journal import Labeled
from dal.runtime.distributed import from_rank_zero, num_ranks
from dal.runtime.seeding import generator
from dal.scoring.evaluation import metrics_from_logits
from dal.stopping import CampaignConfig, check_metric, check_sizes, largest_query, next_query_size, reason_to_stop
from dal.stopping.stop_set import stop_set, stop_set_facts
from dal.training import FitResult
from dal.training.fit_round import check_monitor


def run(
    learner: ActiveLearner,
    oracle: Oracle,
    campaign: CampaignConfig | None = None,
    *,
    test: ImageData | None = None,
    records: Records | None = None,
    prices: PricesConfig | None = None,
    on_round: Callable[[Mapping[str, Any]], None] = lambda row: None,
) -> list[dict[str, Any]]:
    """A whole campaign: buy labels, train, test, until ``campaign`` says stop. Returns the rows of the journal.

    With the records of a run that was cut off it goes on where that one was, to the same end. ``prices`` are for
    campaign.cost_optimum. Raises DalError, before a label is bought, for settings that do not fit one another or the
    data.
    """
    campaign, records = campaign or CampaignConfig(), records or Records()
    answerable = torch.zeros(len(learner.data), dtype=torch.bool)
    answerable[oracle.answerable()] = True
    learner.pool.exclude((~answerable).nonzero().flatten().tolist())
    check_sizes(campaign, learner.pool.num_unlabeled)
    has_validation = campaign.validation_size > 0 or learner.validation is not None
    check_metric(campaign, test is not None, prices, has_validation)
    check_monitor(learner.training, has_validation)
    learner.candidates.check(len(learner.data), largest_query(campaign, learner.pool.num_unlabeled))
    learner.initial = campaign.initial
    learner.restore(records)
    if learner.validation is None and campaign.validation_size:
        _buy_validation(learner, oracle, campaign.validation_size, records)
    followed = stop_set(learner.pool, campaign.stop_set_size, learner.seed)
    while records.stage != "done":
        if records.stage == "select":
            _buy_query(learner, oracle, campaign, records)
        if (logger := records.lightning_logger(learner.round)) is not None:
            learner.trainer["logger"] = logger
        result = learner.fit()
        found = {} if test is None else learner.evaluate(test).row("test")
        if learner.validation is not None and not result.monitor.startswith("val_"):
            found |= _validated(learner)
        if len(followed):
            found |= stop_set_facts(learner.predict(followed, "stop"))
        with learner.ledger.phase("checkpoint"):
            records.keep_weights(learner.model.module.state_dict())
        row = _row(learner, result, found)
        reason = reason_to_stop(campaign, [*records.rows, row], learner.pool.num_unlabeled, prices)
        # Processes measure other seconds, and all must stop after the same round.
        row["campaign_stopped"] = from_rank_zero(reason)
        records.commit_round(row)
        on_round(records.rows[-1])
    return records.rows


def _buy_validation(learner: ActiveLearner, oracle: Oracle, size: int, records: Records) -> None:
    order = torch.randperm(learner.pool.num_unlabeled, generator=generator(learner.seed, "validation"))
    chosen = learner.pool.unlabeled[order[:size]].tolist()
    answers = oracle(chosen)
    learner.tell_validation(chosen, answers)
    ids = [learner.data.ids[i] for i in chosen]
    records.commit_validation(_lines(0, chosen, ids, answers, [None] * len(chosen)))


def _buy_query(learner: ActiveLearner, oracle: Oracle, campaign: CampaignConfig, records: Records) -> None:
    learner.ledger = Ledger()
    size = next_query_size(campaign, records.rows, learner.labels_bought, learner.pool.num_unlabeled)
    query = learner.ask(size)
    labels = oracle(query)
    learner.tell(query, labels)
    lines = _lines(learner.round, query.indices, query.ids, labels, query.scores)
    records.commit_selection(lines, learner.ledger.row(), learner.scores)


def _validated(learner: ActiveLearner) -> dict[str, float]:
    """How a round does on the validation points that its training did not watch."""
    assert learner.validation is not None
    indices, labels = with_known_class(learner.validation)
    metrics = metrics_from_logits(learner.predict(indices, "validate"), labels)
    return {"val_accuracy": metrics.accuracy, "val_loss": metrics.loss}


def _lines(
    round: int, indices: Sequence[int], ids: Sequence[str], labels: Sequence[int], scores: Sequence[float | None]
) -> list[Labeled]:
    return [Labeled(round, rank, *point) for rank, point in enumerate(zip(indices, ids, labels, scores, strict=True))]


def _outside(learner: ActiveLearner) -> dict[str, int]:
    """How many labels went to images of none of the classes, where the data has such images."""
    if not bool((learner.data.labels == OUT_OF_CLASS).any()):
        return {}
    told = [learner.pool.labels(learner.pool.labeled), *([] if learner.validation is None else [learner.validation[1]])]
    return {"num_outside": sum(int((labels == OUT_OF_CLASS).sum()) for labels in told)}


def _row(learner: ActiveLearner, result: FitResult, found: Mapping[str, Any]) -> dict[str, Any]:
    return {
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
