"""Limits on canned selections: points 0 to 11 are the units of three images, four each."""

import pytest
import torch

from dal.acquisition import Entropy, KMeans, Selection
from dal.errors import DalError
from dal.scoring.limit import Limit, UnitOptions, number_limit

POINTS = torch.arange(12)
COSTS = torch.tensor([3.0, 1.0, 2.0, 5.0, 1.0, 1.0, 4.0, 2.0, 1.0, 6.0, 1.0, 1.0])
RANKED = torch.tensor([3, 0, 2, 4, 9, 6, 1, 7, 5, 8, 10, 11])


def limit(size, **options):
    return Limit(size, lambda points, clicks: COSTS[points], units_per_image=4, **options)


class Ranking:
    """Selects the start of RANKED, and notes how many it was asked for."""

    def __init__(self):
        self.asked = []

    def __call__(self, count):
        self.asked.append(count)
        return Selection(RANKED[:count], -torch.arange(count, dtype=torch.float64))


def select(one, most=12):
    ranking = Ranking()
    return one.select(ranking, POINTS, None, most), ranking


@pytest.mark.parametrize(
    ("size", "expected"),
    [(5, [3]), (8, [3, 0]), (9.5, [3, 0]), (10, [3, 0, 2]), (28, RANKED.tolist()), (1000, RANKED.tolist())],
)
def test_a_query_takes_units_best_first_while_their_cost_fits(size, expected):
    found, _ = select(limit(size))
    assert found.positions.tolist() == expected
    assert found.scores.tolist() == [-float(place) for place in range(len(expected))]


def test_the_best_unit_is_taken_if_it_costs_more_than_the_query():
    assert select(limit(0.5))[0].positions.tolist() == [3]


def test_it_selects_more_only_if_what_it_has_fits():
    ranking = select(limit(5))[1]
    assert ranking.asked == [3]  # 5 over the mean cost, rounded up
    ranking = select(Limit(9.0, lambda points, clicks: torch.ones(len(points)), typical=3.0))[1]
    assert ranking.asked == [3, 6, 12]


def test_a_selection_never_asks_for_more_than_there_is():
    found, ranking = select(limit(1000), most=5)
    assert ranking.asked == [5] and found.positions.tolist() == RANKED[:5].tolist()


def test_units_beyond_the_most_of_an_image_are_skipped():
    one = limit(1000, options=UnitOptions(max_per_image=2))
    assert select(one)[0].positions.tolist() == [3, 0, 4, 9, 6, 8]
    few = number_limit(4, 4, UnitOptions(max_per_image=1))
    assert select(few)[0].positions.tolist() == [3, 4, 9]


def test_scores_are_divided_by_expected_costs():
    seen = []

    def expected(points, clicks):
        seen.append(clicks)
        return COSTS[points]

    one = Limit(5, expected, options=UnitOptions(per_cost=True))
    clicks = torch.ones(2)
    assert one.per_cost(torch.tensor([6.0, 10.0]), torch.tensor([0, 3]), clicks).tolist() == [2.0, 2.0]
    assert seen == [clicks]


def test_units_that_are_not_allowed_are_no_candidates():
    one = limit(5, allowed=torch.arange(12) > 9)
    assert one.candidates(torch.tensor([3, 10]), POINTS).tolist() == [10]
    assert one.candidates(torch.tensor([3]), POINTS).tolist() == [10, 11]


@pytest.mark.parametrize(
    ("options", "function", "kind", "message"),
    [
        ({"per_cost": True}, Entropy(), "units", "campaign.cost: expected pixels, clicks or seconds, for"),
        ({"per_cost": True}, KMeans(), "clicks", "acquisition: expected a function that scores units, such as"),
        ({"max_per_image": 0}, Entropy(), "units", "acquisition.max_per_image: expected a whole number of at least 1"),
        ({"per_cost": 1}, Entropy(), "clicks", "acquisition.per_cost: expected true or false, got 1."),
    ],
)
def test_options_that_do_not_fit_are_refused(options, function, kind, message):
    with pytest.raises(DalError) as error:
        UnitOptions(**options).check(function, kind)
    assert message in str(error.value)
