import pytest

from dal.costs.prices import PricesConfig
from dal.errors import DalError
from dal.stopping import CampaignConfig, reason_to_stop, replay
from dal.stopping.replay import outcome


def campaign(accuracies, size=100):
    return [
        {
            "test_accuracy": a,
            "num_labeled": size * (r + 1),
            "labels_bought": size * (r + 1),
            "flops_forward_train": r + 1,
        }
        for r, a in enumerate(accuracies)
    ]


RISING = campaign([0.9 - 3 * (100 * r) ** -0.5 for r in range(1, 31)])


def test_it_stops_where_the_campaign_would_have():
    prices = PricesConfig(label=0.01, accuracy_point=3)
    config = CampaignConfig(cost_optimum=True, budget=10_000)
    live = next(r for r in range(30) if reason_to_stop(config, RISING[: r + 1], 5000, prices) == "cost_optimum")
    assert 4 < live < 28
    assert replay(config, RISING, prices) == live
    # The sizes, limits and growth of the config are not those of the rows.
    other = CampaignConfig(cost_optimum=True, budget=200, query_size=7, growth=3, max_rounds=4)
    assert replay(other, RISING, prices) == live


def test_limits_are_no_rules():
    assert replay(CampaignConfig(budget=150, max_rounds=2), RISING) is None
    assert replay(CampaignConfig(target=0.99), RISING) is None


def test_a_rule_that_holds_only_at_the_end_has_stopped():
    assert replay(CampaignConfig(target=RISING[-1]["test_accuracy"]), RISING) == 29


def test_the_cost_optimum_has_nothing_to_weigh_after_the_last_round():
    assert replay(CampaignConfig(cost_optimum=True), RISING[:4], PricesConfig(label=1e6, accuracy_point=1)) is None
    assert replay(CampaignConfig(cost_optimum=True), RISING[:5], PricesConfig(label=1e6, accuracy_point=1)) == 3


def test_rows_that_do_not_have_what_the_rule_needs():
    with pytest.raises(DalError, match="expected rounds with stop_predictions"):
        replay(CampaignConfig(max_change=0), RISING)


def test_what_stopping_would_have_done_by_hand():
    rows = campaign([0.5, 0.8, 0.75, 0.79])
    stopped = outcome(rows, 2)
    assert (stopped.stopped, stopped.labels, stopped.points_lost) == (2, 300, 5.0)
    assert (stopped.labels_saved, stopped.flops_saved) == pytest.approx((0.25, 1 - 6 / 10))
    through = outcome(rows, None)
    assert (through.stopped, through.labels, through.points_lost) == (None, 400, 1.0)
    assert (through.labels_saved, through.flops_saved) == (0, 0)


def test_rows_that_count_no_flops():
    assert outcome([{"test_accuracy": 0.5, "labels_bought": 10}], 0).flops_saved is None
