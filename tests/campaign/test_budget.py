"""Budgets in other costs than labels, on canned scores: no network is trained."""

from types import SimpleNamespace

import pytest
import torch

from dal.acquisition import Random, Selection
from dal.campaign.budget import ask_within_budget, check_cost, cost_row, costs_for, num_affordable
from dal.costs.kinds import KINDS
from dal.errors import DalError
from dal.labeling.pool import Pool
from dal.labeling.query import Query
from dal.labeling.unit_costs import PoolCosts
from dal.runs.round import Round
from dal.scoring.candidates import AllCandidates
from dal.scoring.limit import UnitOptions
from dal.stopping import CampaignConfig, reason_to_stop

NUM_IMAGES, SIDE = 12, 8


class Quarters:
    """Four units of 4 x 4 pixels in each image."""

    pixels = torch.tensor([16] * 4)

    def __len__(self):
        return 4

    def of_pixels(self, height, width):
        return torch.arange(height)[:, None] // 4 * 2 + torch.arange(width) // 4


class Masks:
    masks = torch.randint(0, 3, (NUM_IMAGES, SIDE, SIDE), generator=torch.Generator().manual_seed(0))

    def __len__(self):
        return NUM_IMAGES

    def batch(self, indices):
        return self.masks[indices].to(torch.uint8)


class Learner:
    """Ranks its points by canned scores. The clicks that it expects are half of the true ones."""

    def __init__(self, options=None):
        self.data = SimpleNamespace(masks=Masks(), units=Quarters(), task=SimpleNamespace(name="segmentation"))
        self.pool = Pool(NUM_IMAGES * 4, 2)
        self.test = self.validation = None
        self.acquisition, self.candidates, self.unit_options = Random(), AllCandidates(), options or UnitOptions()
        self.scores = torch.rand(NUM_IMAGES * 4, generator=torch.Generator().manual_seed(1))

    @property
    def labels_bought(self):
        return self.pool.num_labeled

    def ask(self, query_size, limit=None):
        if limit is None:
            return self.query(self.pool.unlabeled[:query_size])
        points = limit.candidates(self.pool.unlabeled, self.pool.unlabeled)
        clicks = PoolCosts(Masks(), Quarters()).clicks(points) / 2

        def choose(count):
            order = torch.argsort(self.scores[points], descending=True)[:count]
            return Selection(order, self.scores[points[order]])

        return self.query(points[limit.select(choose, points, clicks, len(points)).positions])

    @staticmethod
    def query(points):
        return Query(tuple(points.tolist()), tuple(map(str, points.tolist())), (0.0,) * len(points))


def campaign_of(kind, budget, query_size, **changes):
    return CampaignConfig(**({"cost": kind, "budget": budget, "query_size": query_size, "initial_size": 2} | changes))


def played(config, learner):
    """The rounds of a campaign, and its queries."""
    costs, rows, queries, reason = costs_for(learner, config, has_people=False), [], [], None
    while reason is None:
        query = ask_within_budget(learner, config, rows, costs)
        queries.append(query)
        learner.pool.label(query.indices, [0] * len(query), len(rows))
        rows.append(Round({"labels_bought": learner.labels_bought, **cost_row(learner, costs)}))
        affordable = num_affordable(learner, config, costs)
        reason = reason_to_stop(config, rows, learner.pool.num_unlabeled, num_affordable=affordable)
    return rows, queries, reason


@pytest.mark.parametrize(
    ("kind", "budget", "size"),
    [("units", 20, 5), ("images", 9, 2), ("pixels", 330, 70), ("clicks", 71, 9), ("seconds", 150, 20)],
)
def test_a_campaign_buys_with_every_query_and_never_more_than_what_is_left(kind, budget, size):
    config, learner = campaign_of(kind, budget, size), Learner()
    rows, queries, reason = played(config, learner)
    assert reason == "budget" and len(rows) > 3
    assert all(len(query) for query in queries)
    spent = [row.spent(kind) for row in rows]
    assert spent == sorted(spent) and spent[-1] <= budget
    assert set(rows[-1]) == {"labels_bought", *(f"cost_{kind}" for kind in KINDS)}
    # Nothing that is left could have been bought.
    costs, left = costs_for(learner, config, has_people=False), learner.pool.unlabeled
    assert spent[-1] == budget or float(costs.true(kind, left, learner.pool.labeled).min()) > budget - spent[-1]


def test_a_query_is_bought_by_its_expected_cost_while_the_budget_is_large():
    rows, queries, _ = played(campaign_of("clicks", 150, 9), Learner())
    paid = rows[1].spent("clicks") - rows[0].spent("clicks")
    assert 9 < paid <= 18  # Learner expects half of the true clicks
    scores = Learner().scores[list(queries[1].indices)]
    assert bool((scores.diff() <= 0).all())


def test_the_options_of_a_learner_hold_in_a_query():
    _, queries, _ = played(campaign_of("clicks", 150, 60), Learner(UnitOptions(max_per_image=1)))
    images = [point // 4 for point in queries[1].indices]
    assert len(set(images)) == len(images) > 2


@pytest.mark.parametrize(("kind", "budget", "needed"), [("pixels", 31, "32 pixels"), ("clicks", 3, "clicks")])
def test_a_budget_below_the_cost_of_the_initial_set_is_refused(kind, budget, needed):
    config, learner = campaign_of(kind, budget, 9), Learner()
    with pytest.raises(DalError, match=rf"^campaign.budget: expected at least the .*{needed} that labels up to the in"):
        ask_within_budget(learner, config, [], costs_for(learner, config, has_people=False))


def test_held_out_points_are_paid_first():
    config, learner = campaign_of("pixels", 40, 9), Learner()
    costs = costs_for(learner, config, has_people=False)
    check_cost(config, costs, torch.tensor([1]), [0], "test")
    with pytest.raises(DalError, match="at least the 48 pixels that labels up to the test set cost, got 40"):
        check_cost(config, costs, torch.tensor([1, 2]), [0], "test")


@pytest.mark.parametrize(
    ("change", "has_people", "message"),
    [
        ({"masks": None}, False, "campaign.cost: expected units with classification data, got 'clicks'."),
        ({}, True, "campaign.cost: expected units with oracle=people, because the cost is known only after"),
    ],
)
def test_costs_that_do_not_fit_the_campaign_are_refused(change, has_people, message):
    learner = Learner()
    if change:
        learner.data = SimpleNamespace(masks=None, task=SimpleNamespace(name="classification"))
    with pytest.raises(DalError) as error:
        costs_for(learner, campaign_of("clicks", 100, 9), has_people)
    assert message in str(error.value)


def test_a_click_model_is_tried_before_a_label_is_bought():
    with pytest.raises(DalError, match=r"^broken\(\): expected a function of three tensors: .* got ZeroDivisionError"):
        costs_for(Learner(), campaign_of("units", 100, 9, clicks=broken), has_people=False)


def broken(classes, border, pixels):
    return classes * (1 / 0)


def test_a_click_model_for_data_without_masks_is_refused():
    learner = Learner()
    learner.data = SimpleNamespace(masks=None, task=SimpleNamespace(name="classification"))
    with pytest.raises(DalError, match=r"^campaign\.clicks: expected null with classification data, got 'a\.b'\.$"):
        costs_for(learner, CampaignConfig(clicks="a.b"), has_people=False)


def test_classification_has_no_costs():
    learner = Learner()
    learner.data = SimpleNamespace(masks=None, task=SimpleNamespace(name="classification"))
    config = CampaignConfig(initial_size=2, query_size=5, budget=9)
    assert costs_for(learner, config, has_people=True) is None
    assert dict(cost_row(learner, None)) == {} and num_affordable(learner, config, None) is None
