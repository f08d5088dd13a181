import pytest
import torch

from dal.costs.kinds import KINDS
from dal.labeling.unit_costs import PoolCosts


class Halves:
    """Each image has two units, its upper row and the row below."""

    pixels = torch.tensor([3, 3])

    def __len__(self):
        return 2

    def of_pixels(self, height, width):
        return torch.arange(2)[:, None].expand(height, width)


class FourMasks:
    """Notes which masks it reads."""

    masks = torch.tensor(
        [
            [[0, 0, 0], [0, 1, 1]],
            [[0, 1, 2], [2, 2, 2]],
            [[255, 255, 255], [0, 255, 1]],
            [[3, 1, 3], [3, 3, 1]],
        ],
        dtype=torch.uint8,
    )

    def __init__(self):
        self.read = []

    def __len__(self):
        return 4

    def batch(self, indices):
        self.read += indices
        return self.masks[indices]


CLICKS = [1, 2.125, 3.25, 1, 0, 2, 2.25, 2.125]  # of points 0 to 7
NOTHING = torch.empty(0, dtype=torch.int64)


@pytest.fixture
def costs():
    return PoolCosts(FourMasks(), Halves(), click_seconds=2.0)


def test_true_costs_come_from_the_masks(costs):
    points = torch.arange(8)
    assert costs.true("clicks", points, NOTHING).tolist() == CLICKS
    assert costs.true("seconds", points, NOTHING).tolist() == [2 * one for one in CLICKS]
    assert costs.true("pixels", points, NOTHING).tolist() == [3.0] * 8
    assert costs.true("units", points, NOTHING).tolist() == [1.0] * 8


def test_the_first_unit_of_an_image_pays_for_the_image(costs):
    points, bought = torch.tensor([5, 0, 4, 1, 7]), torch.tensor([6])
    assert costs.true("images", points, bought).tolist() == [1, 1, 0, 0, 0]


def test_expected_clicks_are_those_of_the_prediction_or_the_mean_so_far(costs):
    points = torch.tensor([1, 2])
    predicted = torch.tensor([5.0, 6.0])
    assert costs.expected("clicks", points, predicted, NOTHING).tolist() == [5, 6]
    assert costs.expected("seconds", points, predicted, NOTHING).tolist() == [10, 12]
    assert costs.expected("clicks", points, None, torch.tensor([0, 5])).tolist() == [1.5, 1.5]
    assert costs.expected("clicks", points, None, NOTHING).tolist() == [1, 1]


def test_a_mask_is_read_once(costs):
    costs.clicks(torch.tensor([3]))
    costs.clicks(torch.tensor([2, 7]))
    assert costs._masks.read == [1, 3]


def test_a_round_records_all_costs(costs):
    bought = torch.tensor([2, 7, 3])
    assert costs.row(bought) == {
        "cost_units": 3, "cost_images": 2, "cost_pixels": 9, "cost_clicks": 6.375, "cost_seconds": 12.75,
    }  # fmt: skip
    assert set(costs.row(NOTHING).values()) == {0}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("budget", [0, 1, 2.5, 4, 7, 12, 100])
def test_what_is_bought_never_costs_more_than_the_budget(costs, kind, budget):
    points, bought = torch.tensor([7, 2, 3, 0, 1, 6, 4, 5]), NOTHING
    places = costs.affordable(kind, points, bought, budget)
    assert costs.spent(kind, points[places]) <= budget
    for place in set(range(8)) - set(places):  # each of the others was not to be had
        before = [one for one in places if one < place]
        assert costs.spent(kind, points[[*before, place]]) > budget


def test_what_was_bought_before_counts(costs):
    assert costs.affordable("images", torch.tensor([0, 2, 3, 5]), torch.tensor([4]), 2) == [0, 3]
    assert costs.affordable("clicks", torch.tensor([2, 0, 3]), torch.tensor([1]), 4) == [1]
