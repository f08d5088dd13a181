import pytest

from dal.costs.prices import PricesConfig
from dal.runs.round import Round
from dal.stopping import CampaignConfig, next_round_cost, next_round_worth, reason_to_stop

CAMPAIGN = CampaignConfig(query_size=100, budget=100_000, cost_optimum=True)


def law(n):
    return 0.95 - 5 * n**-0.6


def rows(count, **facts):
    labels = [100 * i for i in range(1, count + 1)]
    return [Round(num_labeled=n, labels_bought=n + 50, test_accuracy=law(n), **facts) for n in labels]


def test_the_cost_of_the_next_round_by_hand():
    seconds = [7, 3600, 1800, 0, 900]
    journal = [
        Round(seconds_train=s / 2, seconds_score=s / 2, joules_train=3.6e6, joules_score=3.6e6, devices=4)
        for s in seconds
    ]
    prices = PricesConfig(label=0.5, gpu_hour=3.0, kwh=0.25)
    # The last three: (1800 + 0 + 900) / 3 = 900 s on 4 devices are 1 device-hour; and 2 kWh a round.
    assert next_round_cost(journal, 10, prices) == pytest.approx(0.5 * 10 + 3.0 + 2 * 0.25)
    # The first round scored nothing, so it does not count.
    assert next_round_cost(journal[:2], 10, prices) == pytest.approx(5 + 12.0 + 0.5)
    assert next_round_cost(journal[:1], 10, prices) == 5


def test_a_round_without_devices_ran_on_one():
    assert next_round_cost([Round(), Round(seconds_train=3600.0)], 0, PricesConfig(gpu_hour=2)) == 2


def test_the_worth_of_the_next_round():
    journal = rows(10)
    worth = next_round_worth(journal, [row["test_accuracy"] for row in journal], 500, PricesConfig(accuracy_point=7))
    assert worth == pytest.approx(7 * 100 * (law(1500) - law(1000)), rel=0.25)


@pytest.mark.parametrize(("factor", "reason"), [(0.5, None), (2.0, "cost_optimum")])
def test_it_ends_when_labels_cost_more_than_they_bring(factor, reason):
    worth = 100 * (law(1100) - law(1000)) * 10
    prices = PricesConfig(label=factor * worth / 100, accuracy_point=10)
    assert reason_to_stop(CAMPAIGN, rows(10), 5000, prices) == reason


@pytest.mark.parametrize(("factor", "reason"), [(0.5, None), (2.0, "cost_optimum")])
def test_it_ends_when_compute_costs_more_than_it_brings(factor, reason):
    worth = 100 * (law(1100) - law(1000)) * 10
    prices = PricesConfig(gpu_hour=factor * worth, accuracy_point=10)
    assert reason_to_stop(CAMPAIGN, rows(10, seconds_train=1800.0, devices=2), 5000, prices) == reason


def test_the_query_is_the_one_that_the_campaign_can_still_buy():
    """A smaller last query costs fewer labels, but the compute of a whole round."""
    gains = {size: 100 * (law(1000 + size) - law(1000)) * 10 for size in (10, 100)}
    prices = PricesConfig(gpu_hour=(gains[10] + gains[100]) / 2, accuracy_point=10)
    journal = rows(10, seconds_train=3600.0)
    assert reason_to_stop(CAMPAIGN, journal, 100, prices) is None
    assert reason_to_stop(CAMPAIGN, journal, 10, prices) == "cost_optimum"
    budget = CampaignConfig(query_size=100, budget=1060, cost_optimum=True)
    assert reason_to_stop(budget, journal, 100, prices) == "cost_optimum"


def test_it_waits_for_four_rounds_and_leaves_the_end_to_the_limits():
    dear = PricesConfig(label=1000, accuracy_point=0.01)
    assert [reason_to_stop(CAMPAIGN, rows(n), 5000, dear) for n in (1, 3, 4)] == [None, None, "cost_optimum"]
    assert reason_to_stop(CAMPAIGN, rows(10), 0, dear) == "pool_empty"
    spent = CampaignConfig(budget=1050, cost_optimum=True)
    assert reason_to_stop(spent, rows(10), 5000, dear) == "budget"


def test_a_flat_curve_is_worth_next_to_nothing():
    flat = [Round(row, test_accuracy=0.8 + 0.001 * (-1) ** i) for i, row in enumerate(rows(10))]
    assert reason_to_stop(CAMPAIGN, flat, 5000, PricesConfig(label=0.01, accuracy_point=1)) == "cost_optimum"


def test_the_next_labels_take_people_as_long_as_those_so_far():
    rows = [Round(labels_bought=20, annotator_seconds=60.0), Round(labels_bought=50, annotator_seconds=40.0)]
    assert next_round_cost(rows, 30, PricesConfig(label_hour=60)) == pytest.approx(30 * 2 / 60)
    assert next_round_cost(rows, 30, PricesConfig(label_hour=60, label=1)) == pytest.approx(31)
    assert next_round_cost([Round(labels_bought=20)], 30, PricesConfig(label_hour=60)) == 0
