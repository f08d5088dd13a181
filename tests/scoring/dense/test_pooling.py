"""Scores of sites become scores of regions."""

import pytest
import torch

from dal.data.units import Units
from dal.errors import DalError
from dal.scoring.dense.pooling import Pooling, UnitPool

SCORES = torch.tensor([1.0, 2.0, 9.0, 3.0, 4.0, 8.0, 5.0, 7.0, 6.0])  # a 3x3 image, row-major


@pytest.mark.parametrize(
    "pooling, expected",
    [
        (Pooling(), [2.5, 8.5, 6.0, 6.0]),
        (Pooling("sum"), [10.0, 17.0, 12.0, 6.0]),
        (Pooling("max"), [4.0, 9.0, 7.0, 6.0]),
        (Pooling("top_k", top_k=2), [3.5, 8.5, 6.0, 6.0]),
        (Pooling("top_k", top_k=1), [4.0, 9.0, 7.0, 6.0]),
    ],
)
def test_a_3x3_image_with_regions_of_2_by_hand(pooling, expected):
    pool = UnitPool(Units(3, 3, region_size=2), 3, 3, pooling)
    two = torch.cat([SCORES, SCORES.flip(0)]).double()
    assert pool({"scores": two})["scores"][0].tolist() == expected
    assert pool({"scores": SCORES})["scores"].tolist() == [expected]


def test_features_are_means_whatever_the_pool():
    pool = UnitPool(Units(3, 3, region_size=2), 3, 3, Pooling("max"))
    found = pool({"features": torch.stack([SCORES, -SCORES], dim=1)})["features"]
    assert found.tolist() == [[[2.5, -2.5], [8.5, -8.5], [6.0, -6.0], [6.0, -6.0]]]


def test_the_predicted_class_of_a_unit_is_that_of_most_sites():
    classes = torch.tensor([3, 5, 2, 5, 3, 2, 0, 1, 4])  # of the smaller units, two tie
    pool = UnitPool(Units(3, 3, region_size=2), 3, 3, Pooling("max"))
    assert pool({"predicted": classes})["predicted"].tolist() == [[3, 2, 0, 4]]
    whole = UnitPool(Units(3, 3), 3, 3, Pooling())
    assert whole({"predicted": torch.cat([classes, classes.clamp(min=5)])})["predicted"].tolist() == [[2], [5]]


def test_negative_scores_are_not_raised_by_what_fills_smaller_regions():
    pool = UnitPool(Units(3, 3, region_size=2), 3, 3, Pooling("max"))
    assert pool({"scores": -SCORES})["scores"].tolist() == [[-1.0, -8.0, -5.0, -6.0]]


@pytest.mark.parametrize("wrong", [{"pool": "median"}, {"pool": "top_k", "top_k": 0}])
def test_another_pool_is_refused(wrong):
    with pytest.raises(DalError, match=r"^acquisition\.(pool|top_k): expected"):
        Pooling(**wrong)
