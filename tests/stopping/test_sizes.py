import itertools

import pytest

from dal.runs.round import Round
from dal.stopping import CampaignConfig, largest_query, next_query_size


def config(**changes):
    return CampaignConfig(**({"initial_size": 10, "budget": 1000} | changes))


@pytest.mark.parametrize(
    ("round", "bought", "num_unlabeled", "size"),
    [
        (0, 0, 500, 10),
        (1, 10, 500, 40),
        (1, 980, 500, 20),
        (1, 10, 7, 7),
        (3, 1000, 7, 0),
        (3, 1001, 7, 0),
        (2, 5, 0, 0),
    ],
)
def test_a_query_fits_budget_and_pool(round, bought, num_unlabeled, size):
    assert next_query_size(config(query_size=40), [Round()] * round, bought, num_unlabeled) == size


def test_queries_grow_from_the_second_on():
    growing = config(query_size=10, growth=1.5)
    assert [growing.size_of_query(r) for r in range(5)] == [10, 10, 15, 23, 34]


@pytest.mark.parametrize("growth", [1e160, 1e308])
def test_a_size_beyond_all_numbers_is_what_is_left(growth):
    growing = config(query_size=20, growth=growth, budget=60)
    assert next_query_size(growing, [Round()] * 2, 30, 500) == 30
    assert next_query_size(growing, [Round()] * 3, 60, 440) == 0
    assert largest_query(growing, 500) == 30


def test_a_whole_campaign_spends_the_budget_to_the_last_label():
    growing, bought, sizes = config(query_size=30, growth=2, budget=333, validation_size=20), 20, []
    while size := next_query_size(growing, [Round()] * len(sizes), bought, 10_000):
        sizes.append(size)
        bought += size
    assert sizes == [10, 30, 60, 120, 93]


@pytest.mark.parametrize(
    ("disagreements", "size"),
    [
        ([], 10),
        ([None], 40),
        ([None, 0.2], 40),
        ([None, 0.1], 80),
        ([None, 0.15], 40),  # not below
        ([None, 0.1, 0.3, -0.1], 160),
        ([None, None, 0.1], 80),
        ([0.1, 0.3], 40),  # the first row's labels were no query
    ],
)
def test_a_query_grows_after_queries_that_were_like_random(disagreements, size):
    growing = config(query_size=40, growth=2, grow_below=0.15)
    rows = [{"query_disagreement": d} for d in disagreements]
    assert next_query_size(growing, rows, 10, 500) == size
    # With no such limit they grow whatever the disagreement.
    always = [10, 40, 80, 160, 320][len(rows)]
    assert next_query_size(config(query_size=40, growth=2), rows, 10, 500) == always


@pytest.mark.parametrize("budget", [40, 100, 190, 1000])
@pytest.mark.parametrize("num_points", [60, 150, 5000])
@pytest.mark.parametrize("max_rounds", [None, 4])
def test_no_order_of_growing_buys_more_at_once_than_the_largest_query(budget, num_points, max_rounds):
    growing = config(query_size=20, growth=1.7, grow_below=0.0, budget=budget, max_rounds=max_rounds)
    bound, largest = largest_query(growing, num_points), 0
    for order in itertools.product([-1.0, 1.0], repeat=6):
        bought, rows = 10, [{}]
        while size := next_query_size(growing, rows, bought, num_points - bought):
            if len(rows) == max_rounds or len(rows) > len(order):
                break
            largest, bought = max(largest, size), bought + size
            rows.append({"query_disagreement": order[len(rows) - 1]})
    assert 0 < largest <= bound


@pytest.mark.parametrize(("max_rounds", "largest"), [(1, 0), (2, 20), (3, 40), (None, 80)])
def test_the_largest_query_by_hand(max_rounds, largest):
    # 10 + 20 + 40 + 80, and 50 that are left.
    growing = config(query_size=20, growth=2, budget=200, max_rounds=max_rounds)
    assert largest_query(growing, 1000) == largest
