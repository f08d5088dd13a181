import itertools

import numpy as np
import pytest

from dal.analysis import common_prices, group_runs, mean_costs, read_run, round_costs, summarize_runs
from dal.costs.prices import PricesConfig

PRICES = PricesConfig(label=0.5, gpu_hour=36.0, kwh=3600.0)  # a second on one device 0.01, a joule 0.001


@pytest.fixture
def make(synthetic, tmp_path):
    numbers = itertools.count()
    return lambda accuracies, **options: read_run(
        synthetic.write_run(tmp_path / f"{next(numbers)}", accuracies, **options)
    )


def test_costs_of_rounds_by_hand(make, synthetic):
    def extra(i):
        return synthetic.flops_of(i) | {"devices": 2, "joules_train": 100, "joules_test": 7, "seconds_stop": 1}

    costs = round_costs(make([0.4, 0.6], labels=[10, 30], extra=extra), PRICES)
    assert costs["flops_train"].tolist() == [310, 610]
    assert costs["flops_score"].tolist() == [5, 1008]
    assert costs["flops_test"].tolist() == [40, 40]
    assert costs["flops_total"].tolist() == [322, 1625]  # with the stop set's 7
    assert costs["seconds"].tolist() == [2.75, 3.75]
    np.testing.assert_allclose(costs["money"], [5 + 2 * 0.0275 + 0.1, 10 + 2 * 0.0375 + 0.1])


def test_the_time_of_people_is_paid_in_the_round_that_took_it(make):
    run = make([0.4, 0.6], labels=[10, 30], extra=lambda i: {"annotator_seconds": [60.0, 90.0][i]})
    np.testing.assert_allclose(round_costs(run, PricesConfig(label_hour=60))["money"], [1, 1.5])
    np.testing.assert_allclose(round_costs(run, PricesConfig(label_hour=60, label=1))["money"], [11, 21.5])
    assert round_costs(make([0.4]), PricesConfig(label_hour=60))["money"].tolist() == [0]


def test_a_run_that_counts_no_flops_or_not_in_all_rounds_has_none(make, synthetic):
    for extra in (None, lambda i: synthetic.flops_of(i) if i else {}):
        costs = round_costs(make([0.4, 0.6], extra=extra))
        for name in ("flops_train", "flops_score", "flops_test", "flops_total", "money"):
            assert np.isnan(costs[name]).all(), name
        assert costs["seconds"].tolist() == [1.75, 2.75]


def test_flops_beyond_64_bits_are_summed(make):
    run = make([0.4, 0.6], extra=lambda i: {"flops_forward_train": 10**19, "flops_backward_train": 2 * 10**19})
    assert round_costs(run)["flops_total"].tolist() == [3e19, 3e19]


def test_costs_of_a_group_are_means_round_by_round_from_the_first_on(make, synthetic):
    runs = [make([0.4, 0.5, 0.6], seed=s, extra=lambda i, s=s: synthetic.flops_of(i, 1 + 2 * s)) for s in (0, 1)]
    costs = mean_costs(group_runs(runs)[0])
    totals = [3 * 100 * (i + 1) + 10 + 5 + 1003 * i + 7 for i in range(3)]
    np.testing.assert_allclose(costs["flops_total"], 2 * np.cumsum(totals))
    np.testing.assert_allclose(costs["seconds"], np.cumsum([1.75, 2.75, 3.75]))


def test_a_cut_group_costs_what_its_common_rounds_cost(make, synthetic):
    runs = [make([0.5, 0.6, 0.9], seed=0, extra=synthetic.flops_of)]
    runs.append(make([0.5, 0.7], seed=1, stopped=None, extra=synthetic.flops_of))
    (line,) = summarize_runs(runs, PRICES).to_dict("records")
    assert (line["flops_train"], line["flops_score"], line["flops_test"]) == (920, 1013, 80)
    assert line["flops_total"] == 920 + 1013 + 14
    assert line["money_total"] == pytest.approx(20 * 0.5 + 4.5 * 0.01)
    assert line["currency"] == "USD"


def test_prices_of_the_configurations_count_if_they_agree(make):
    old, cheap = make([0.5]), make([0.5], seed=1, prices={"label": 0.1, "accuracy_point": 3.0})
    assert common_prices([old]) is None
    assert common_prices([old, cheap]) == PricesConfig(label=0.1)
    assert common_prices([cheap, make([0.5], seed=2, prices={"label": 0.1, "currency": "EUR"})]) is None
    assert common_prices([make([0.5], seed=3, prices={"accuracy_point": 3.0})]) is None
