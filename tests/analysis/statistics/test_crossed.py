"""Differences over trainings and test points, against loops and SciPy, and simulated."""

import math

import numpy as np
import pytest
from scipy import stats

from dal.analysis.statistics.crossed import crossed
from dal.errors import DalError


def test_numbers_are_those_of_a_loop_and_of_scipy():
    generator = np.random.default_rng(0)
    before, after = generator.random((2, 4, 90)) < np.array([0.6, 0.75])[:, None, None]
    found = crossed(before, after)
    of_point = [sum(int(after[s, t]) - int(before[s, t]) for s in range(4)) / 4 for t in range(90)]
    of_training = [sum(int(after[s, t]) - int(before[s, t]) for t in range(90)) / 90 for s in range(4)]
    gains, losses = sum(d > 0 for d in of_point), sum(d < 0 for d in of_point)
    assert (found.gains, found.losses, found.points) == (gains, losses, 90)
    assert found.difference == pytest.approx(sum(of_training) / 4)
    middle = sum(of_point) / 92
    points = ((sum(d * d for d in of_point) + 1) / 92 - middle**2) / 92
    trainings = np.var(of_training, ddof=1) / 4
    freedom = (points + trainings) ** 2 / (points**2 / 91 + trainings**2 / 3)
    ends = stats.t.interval(0.95, freedom, middle, math.sqrt(points + trainings))
    assert (found.low, found.high) == pytest.approx(ends)
    of_images = stats.binomtest(gains, gains + losses).pvalue
    of_trainings = 2 * stats.t.sf(abs(middle) / math.sqrt(points + trainings), freedom)
    assert found.p == pytest.approx(max(of_images, of_trainings))
    back = crossed(after, before)
    assert (back.p, back.low, back.gains) == pytest.approx((found.p, -found.high, found.losses))


@pytest.mark.parametrize("spread", [0.0, 0.5])
def test_no_difference_is_seldom_called_one_even_if_trainings_vary(spread):
    generator = np.random.default_rng(1)
    ease = generator.normal(1.5, 1.5, 200)
    called = covered = by_mcnemar = 0
    for _ in range(300):
        shift = generator.normal(0, spread, (2, 3, 1))
        right = ease + shift + generator.logistic(0, 0.5, (2, 3, 200)) > 0
        found = crossed(*right)
        called += found.p < 0.05
        covered += found.low <= 0 <= found.high
        by_mcnemar += stats.binomtest(found.gains, found.gains + found.losses).pvalue < 0.05
    assert called <= 300 * 0.05 and covered >= 300 * 0.93
    # The test on points alone ignores that trainings vary.
    assert spread == 0 or by_mcnemar > 300 * 0.2


def test_equal_results_have_an_interval_and_a_clear_difference_is_found():
    right = np.ones((3, 50), dtype=bool)
    same = crossed(right, right)
    assert (same.p, same.difference) == (1.0, 0.0) and 0.03 < same.most < 0.06
    found = crossed(~right, right)
    assert found.p < 1e-10 and found.low > 0.85 and found.high <= 1.0


def test_bad_shapes_are_refused():
    for before, after in ((np.ones((1, 5)), np.ones((1, 5))), (np.ones((2, 5)), np.ones((2, 4))), ([], [])):
        with pytest.raises(DalError, match=r"^after: expected at least 2 trainings"):
            crossed(before, after)
