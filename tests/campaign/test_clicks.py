"""Campaigns that buy regions with a budget of clicks, from a small network to the run folder."""

import json

import pytest
import torch
from helpers.toy_masks import mask_learner, quick, toy_mask_data

from dal import run
from dal.acquisition import Entropy, RandomForeground, Stratified
from dal.costs.kinds import KINDS, cost_key
from dal.labeling.oracle import DatasetOracle
from dal.labeling.unit_costs import PoolCosts
from dal.runs.folder import RunFolder
from dal.scoring import ScoringConfig
from dal.scoring.limit import UnitOptions
from dal.stopping import CampaignConfig

BUDGET, QUERY = 60, 12


class Kill(Exception):
    """The end of a process."""


def campaign(acquisition, records=None, kill=None, options=None, scoring=None, **changes):
    learner = mask_learner(acquisition, training=quick(updates_per_label=0.5), unit_options=options, scoring=scoring)
    seen = []

    def progress(phase, done, total):
        seen.append(phase)
        if kill is not None and seen.count(kill[0]) == kill[1]:
            raise Kill

    learner.on_progress = learner.passes.on_progress = progress
    given = {"initial_size": 8, "query_size": QUERY, "budget": BUDGET, "cost": "clicks", "validation_size": 4}
    config = CampaignConfig(**given | {"stop_set_size": 0} | changes)
    try:
        return learner, run(
            learner, DatasetOracle(learner.data), config, test=toy_mask_data(6, seed=9), records=records
        )
    finally:
        if records is not None:
            records.close()


def counted(rows):
    return [{k: v for k, v in row.items() if not k.startswith(("seconds", "peak", "joules"))} for row in rows]


def true_clicks(learner, points):
    return PoolCosts(learner.data.masks, learner.data.units).clicks(torch.as_tensor(points))


def check_what_was_paid(learner, rows, budget=BUDGET):
    """Each query costs what its masks say, and at most what is left."""
    before = 0.0
    held = learner.validation[0]
    for row in rows:
        labeled = learner.pool.labeled[learner.pool.rounds(learner.pool.labeled) <= row["round"]]
        paid = float(true_clicks(learner, torch.cat([held, labeled])).sum())
        assert row["cost_clicks"] == pytest.approx(paid) and before < paid <= budget
        assert row["cost_units"] == row["labels_bought"] and row["cost_pixels"] == 16 * row["labels_bought"]
        before = paid
    left = true_clicks(learner, learner.pool.unlabeled)
    assert rows[-1]["campaign_stopped"] == "budget" and float(left.min()) > budget - before


def test_a_campaign_of_clicks_that_is_killed_and_resumed_equals_one_that_is_not(tmp_path):
    options = UnitOptions(per_cost=True, max_per_image=3)
    learner, expected = campaign(Entropy(), options=options, budget=90)
    fingerprint = learner.data.fingerprint()
    for kill in (("test", 1), ("score", 1), ("train", 5)):
        with pytest.raises(Kill):
            campaign(Entropy(), RunFolder(tmp_path, {}, fingerprint), kill, options, budget=90)
    resumed, rows = campaign(Entropy(), RunFolder(tmp_path, {}, fingerprint), options=options, budget=90)
    assert counted(rows) == counted(expected) and len(rows) > 2
    assert resumed.pool.labeled.tolist() == learner.pool.labeled.tolist()
    check_what_was_paid(resumed, rows, 90)
    written = [json.loads(line) for line in (tmp_path / "rounds.jsonl").read_text().splitlines()]
    assert [row["cost_clicks"] for row in written] == [row["cost_clicks"] for row in expected]
    assert all(cost_key(kind) in row for kind in KINDS for row in written)


@pytest.mark.parametrize(
    ("acquisition", "scoring"),
    [
        (Stratified(), None),
        (Stratified(score="bald", num_draws=3), ScoringConfig(memory_budget="16KiB")),
        (RandomForeground(), None),
    ],
)
def test_functions_for_segmentation_buy_with_clicks(acquisition, scoring):
    learner, rows = campaign(acquisition, scoring=scoring)
    assert len(rows) > 2
    check_what_was_paid(learner, rows)


@pytest.mark.parametrize(("cost", "budget", "size"), [("pixels", 400, 80), ("seconds", 120, 30)])
def test_regions_are_bought_with_other_costs(cost, budget, size):
    _, rows = campaign(Entropy(), cost=cost, budget=budget, query_size=size)
    spent = [row[cost_key(cost)] for row in rows]
    assert len(rows) > 2 and spent == sorted(set(spent)) and budget - size < spent[-1] <= budget
