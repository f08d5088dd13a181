import pytest

from dal.errors import DalError
from dal.runs.round import Round
from dal.stopping import CampaignConfig, check_sizes, largest_query, next_query_size


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


@pytest.mark.parametrize(("max_rounds", "largest"), [(1, 0), (2, 20), (3, 40), (None, 80)])
def test_the_largest_query_by_hand(max_rounds, largest):
    # 10 + 20 + 40 + 80, and 50 that are left.
    growing = config(query_size=20, growth=2, budget=200, max_rounds=max_rounds)
    assert largest_query(growing, 1000) == largest


def test_a_pool_that_is_too_small_says_which_sizes_fit():
    sentence = r"expected at most the 19 points .* set campaign\.initial_size=4 campaign\.query_size=4\.$"
    with pytest.raises(DalError, match=sentence):
        check_sizes(CampaignConfig(initial_size=20, query_size=20, budget=100), 19)
    check_sizes(CampaignConfig(initial_size=4, query_size=4, budget=100), 19)
