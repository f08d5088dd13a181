"""Runs a campaign until a stopping rule ends it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from dal.campaign.budget import ask_within_budget, bought_points, check_cost, costs_for
from dal.campaign.diagnosed import Recorder
from dal.campaign.people import run_with_people
from dal.campaign.training_round import Setting, drawn, train_round
from dal.costs.ledger import Ledger
from dal.costs.prices import PricesConfig
from dal.data.images import ImageData, known_indices
from dal.data.overlap import check_labels_of_copies, check_test_images
from dal.data.sources.torch_dataset import as_image_data
from dal.errors import WaitingForAnswers, bad_content, bad_value
from dal.labeling.oracle import Oracle
from dal.labeling.people.oracle import People
from dal.loop import ActiveLearner
from dal.runs.diagnosis import DiagnosisConfig
from dal.runs.journal import Asked, Labeled
from dal.runs.layout import ANSWER, ANSWER_TEST, ANSWER_VALIDATION, DONE, SELECT
from dal.runs.records import Records
from dal.runs.round import Round
from dal.runs.settings import plain_settings
from dal.runtime.distributed import from_rank_zero
from dal.stopping import (
    CampaignConfig,
    check_metric,
    check_sizes,
    for_task,
    largest_query,
)
from dal.stopping.stop_set import stop_set
from dal.training.fit_round import check_training


def run(
    learner: ActiveLearner,
    oracle: Oracle | People,
    campaign: CampaignConfig | None = None,
    *,
    test: ImageData | object | None = None,
    records: Records | Callable[[], Records] | None = None,
    prices: PricesConfig | None = None,
    on_round: Callable[[Round], None] = lambda row: None,
    diagnosis: DiagnosisConfig | None = None,
) -> list[Round]:
    """Buy labels, train and test until a stopping rule of ``campaign`` applies.

    Returns the rows of the journal. With the records of an interrupted run, the campaign resumes and gives the same
    results. ``records`` can also be a function that opens them, which is called after all settings are checked.
    ``prices`` are for campaign.cost_optimum. Records in a folder include those for diagnosis, as ``diagnosis`` says.

    Raises DalError, before a label is bought, for settings that conflict with each other, with the data or with a
    finished round of the records. Raises WaitingForAnswers if the oracle has no labels yet; a later call with the same
    records resumes. A warning counts and names test images that are also training images.
    """
    campaign = for_task(campaign or CampaignConfig(), learner.data.task, learner.metrics.numbers)
    test = None if test is None else _test_data(learner, test)
    answerable = torch.zeros(learner.data.num_points, dtype=torch.bool)
    answerable[oracle.answerable()] = True
    learner.pool.exclude((~answerable).nonzero().flatten().tolist())
    _check(learner, campaign, test, prices)
    costs = costs_for(learner, campaign, isinstance(oracle, People))
    learner.initial = campaign.initial
    learner.check_initial()
    records = records() if callable(records) else records or Records()
    records.follow(learner.data.task.primary_metric, _settings(learner, campaign))
    nobody = torch.empty(0, dtype=torch.int64)
    recorder = Recorder(diagnosis or DiagnosisConfig(), records)
    setting = Setting(campaign, records, test, prices, on_round, followed=nobody, recorder=recorder, costs=costs)
    if isinstance(oracle, People):
        return run_with_people(learner, oracle, setting)
    learner.restore(records)
    if learner.test is None and campaign.test_size:
        _buy_test(learner, oracle, setting)
    if learner.validation is None and campaign.validation_size:
        _buy_validation(learner, oracle, setting)
    setting.followed = stop_set(learner.pool, campaign.stop_set_size, learner.seed)
    while records.stage != DONE:
        if records.stage == SELECT:
            _ask(learner, setting)
        if records.stage == ANSWER:
            answers = _answers(oracle, records)
            learner.tell([point.index for point in records.pending], answers)
            records.commit_selection(_answered(records, answers))
        train_round(learner, setting)
    return records.rows


def _test_data(learner: ActiveLearner, test: ImageData | object) -> ImageData:
    data = as_image_data(test, "test", learner.data.classes)
    check_labels_of_copies(learner.data)
    check_test_images(learner.data, data, refuse=False)
    if data.task.is_dense:
        _check_test_masks(data.whole())
    return data


def _check_test_masks(data: ImageData) -> None:
    """Raise DalError unless a test mask has a pixel of a class. Masks are read up to the first that has one."""
    for block in torch.split(known_indices(data), _MASKS_AT_A_TIME):
        if len(data.trainable((block, data.labels[block]))[0]):
            return
    raise bad_content("test", "masks with pixels that are not ignored", "none")


def _check(
    learner: ActiveLearner, campaign: CampaignConfig, test: ImageData | None, prices: PricesConfig | None
) -> None:
    """Raise DalError for settings that conflict with each other or with the data."""
    if campaign.test_size and test is not None:
        expected = f"0, because the data has a test set of {len(test):,} images"
        raise bad_value("campaign.test_size", expected, campaign.test_size)
    check_sizes(campaign, learner.pool.num_unlabeled)
    num_validation = campaign.validation_size if learner.validation is None else len(learner.validation[0])
    has_test = test is not None or campaign.test_size > 0 or learner.test is not None
    check_metric(campaign, has_test, prices, num_validation > 0)
    check_training(learner.setup, learner.data, num_validation)
    learner.candidates.check(learner.data.num_points, largest_query(campaign, learner.pool.num_unlabeled))


def _settings(learner: ActiveLearner, campaign: CampaignConfig) -> dict[str, Any]:
    """Return what a resumed campaign must have in common with its records."""
    acquisition, candidates, data = learner.acquisition, learner.candidates, learner.data
    pooling = plain_settings(learner.passes.pooling) if data.task.is_dense else {}
    region = {"region_size": data.region_size} if data.task.is_dense else {}
    return {
        "seed": learner.seed,
        "data": {"name": data.name, **region},
        "model": _network(learner.model.module),
        "acquisition": {"name": acquisition.name, **plain_settings(acquisition), **pooling},
        "campaign": plain_settings(campaign),
        "training": plain_settings(learner.training),
        "scoring": plain_settings(learner.scoring),
        "candidates": {"name": type(candidates).__name__, **plain_settings(candidates)},
    }


def _network(module: nn.Module) -> dict[str, Any]:
    """Return what tells reports one network from another."""
    sizes = [parameter.numel() for parameter in module.parameters() if not is_lazy(parameter)]
    return {"class": type(module).__name__, "parameters": sum(sizes)}


def _buy_test(learner: ActiveLearner, oracle: Oracle, setting: Setting) -> None:
    records = setting.records
    if records.stage != ANSWER_TEST:
        records.commit_test_query(_drawn_lines(learner, setting, setting.campaign.test_size, "test"))
    answers = _answers(oracle, records)
    learner.tell_test([point.index for point in records.pending], answers)
    records.commit_test(_answered(records, answers))


def _buy_validation(learner: ActiveLearner, oracle: Oracle, setting: Setting) -> None:
    records = setting.records
    if records.stage != ANSWER_VALIDATION:
        lines = _drawn_lines(learner, setting, setting.campaign.validation_size, "validation")
        records.commit_validation_query(lines)
    answers = _answers(oracle, records)
    learner.tell_validation([point.index for point in records.pending], answers)
    records.commit_validation(_answered(records, answers))


def _drawn_lines(learner: ActiveLearner, setting: Setting, size: int, purpose: str) -> list[Asked]:
    chosen = drawn(learner, size, purpose)
    check_cost(setting.campaign, setting.costs, bought_points(learner), chosen, purpose)
    return _lines(0, chosen, [learner.data.point_ids[i] for i in chosen], [None] * len(chosen))


def _ask(learner: ActiveLearner, setting: Setting) -> None:
    campaign, records = setting.campaign, setting.records
    learner.ledger = Ledger()
    with setting.recorder.asking(learner):
        query = ask_within_budget(learner, campaign, records.rows, setting.costs)
    lines = _lines(len(records.rows), query.indices, query.ids, query.scores)
    records.commit_query(lines, learner.ledger.row(), learner.scores)


_MASKS_AT_A_TIME = 64

_OF = {ANSWER_TEST: "of the test set", ANSWER_VALIDATION: "of the validation set"}


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
    of = _OF.get(records.stage, f"of round {records.pending[0].round}")
    where = "" if records.query_path is None else f" ({records.query_path})"
    raise WaitingForAnswers(
        f"run: waiting for {labels} {of}{where}. Run the same command again once you have "
        f"{'it' if count == 1 else 'them'}."
    )


def _answered(records: Records, answers: Sequence[int]) -> list[Labeled]:
    return [point.answered(label) for point, label in zip(records.pending, answers, strict=True)]


def _lines(round: int, indices: Sequence[int], ids: Sequence[str], scores: Sequence[float | None]) -> list[Asked]:
    return [Asked(round, rank, *point) for rank, point in enumerate(zip(indices, ids, scores, strict=True))]
