import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from dal.errors import DalError
from dal.stopping import changed_share, cohen_kappa, mean_pairwise_kappa


@pytest.mark.parametrize(
    ("num_points", "num_classes", "share"), [(7, 2, 0.5), (200, 10, 0.1), (500, 3, 0.9), (5, 5, 1)]
)
def test_kappa_is_that_of_scikit_learn(num_points, num_classes, share):
    g = np.random.default_rng(num_points)
    first = g.integers(num_classes, size=num_points)
    second = np.where(g.random(num_points) < share, g.integers(num_classes, size=num_points), first)
    assert cohen_kappa(first.tolist(), second.tolist()) == pytest.approx(cohen_kappa_score(first, second))


def test_kappa_by_hand():
    # 3 of 4 agree; chance is 2/4 * 3/4 + 2/4 * 1/4 = 0.5.
    assert cohen_kappa([7, 7, 9, 9], [7, 7, 9, 7]) == pytest.approx((0.75 - 0.5) / (1 - 0.5))
    # Never the same, with halves the other way round: chance 0.5.
    assert cohen_kappa([0, 0, 1, 1], [1, 1, 0, 0]) == -1


def test_constant_predictions():
    assert cohen_kappa([3, 3, 3], [3, 3, 3]) == 1
    assert cohen_kappa([3, 3, 3], [4, 4, 4]) == 0
    # A constant says nothing about the other: kappa is 0 however often they agree.
    assert cohen_kappa([3] * 100, [3] * 99 + [4]) == pytest.approx(0)
    assert mean_pairwise_kappa([[0, 0], [0, 0], [0, 0]]) == 1


def test_the_mean_is_over_all_pairs():
    models = [[0, 0, 1, 1], [0, 1, 1, 1], [0, 1, 0, 1], [0, 0, 1, 1]]
    pairs = [cohen_kappa_score(models[i], models[j]) for i in range(4) for j in range(i)]
    assert len(pairs) == 6
    assert mean_pairwise_kappa(models) == pytest.approx(sum(pairs) / 6)


def test_changed_share():
    assert changed_share([0, 1, 2], [0, 1, 2]) == 0
    assert changed_share([0, 1, 2, 3, 4], [4, 1, 2, 3, 0]) == 0.4


@pytest.mark.parametrize(
    ("first", "second", "counts"), [([], [], "0 and 0"), ([1], [1, 2], "1 and 2"), ([1], [], "1 and 0")]
)
@pytest.mark.parametrize("function", [cohen_kappa, changed_share])
def test_refused(function, first, second, counts):
    with pytest.raises(DalError, match=f"predictions: expected two non-empty lists of equal length, got {counts}"):
        function(first, second)


def test_one_model_agrees_with_nobody():
    with pytest.raises(DalError, match="predictions: expected predictions of at least 2 models, got 1"):
        mean_pairwise_kappa([[0, 1]])
