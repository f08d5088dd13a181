import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import sklearn.metrics

from dal.analysis.statistics.curves import area_under_curve, labels_to_reach, mean_and_interval, paired_difference
from dal.errors import DalError


def test_area_by_hand_is_a_mean_height():
    # 10 wide at mean height 0.6, 30 wide at mean height 0.8: (6 + 24) / 40
    assert area_under_curve([10, 20, 50], [0.5, 0.7, 0.9]) == pytest.approx(0.75)
    assert area_under_curve([3, 4, 100], [0.4, 0.4, 0.4]) == pytest.approx(0.4)


def test_area_agrees_with_scipy_and_sklearn():
    rng = np.random.default_rng(0)
    x, y = np.cumsum(rng.integers(1, 50, 12)), rng.random(12)
    width = x[-1] - x[0]
    assert area_under_curve(x, y) == pytest.approx(scipy.integrate.trapezoid(y, x) / width, rel=1e-12)
    assert area_under_curve(x, y) == pytest.approx(sklearn.metrics.auc(x, y) / width, rel=1e-12)


@pytest.mark.parametrize(
    ("x", "y", "sentence"),
    [
        ([10], [0.5], "x: expected at least 2 points, got 1."),
        ([10, 10], [0.5, 0.6], "x: expected increasing numbers, got [10.0, 10.0]."),
        ([20, 10], [0.5, 0.6], "x: expected increasing numbers, got [20.0, 10.0]."),
        ([10, 20], [0.5], "y: expected one value per value of x, of shape (2,), got (1,)."),
        ([1, 2], [0.5, float("nan")], "x, y: expected finite numbers, got [[1.0, 2.0], [0.5, nan]]."),
    ],
)
def test_area_refuses(x, y, sentence):
    with pytest.raises(DalError) as error:
        area_under_curve(x, y)
    assert str(error.value) == sentence


@pytest.mark.parametrize(
    ("target", "labels"),
    [(0.4, 10.0), (0.5, 10.0), (0.6, 15.0), (0.7, 20.0), (0.8, 40.0), (0.85, 45.0), (0.9, 50.0), (0.91, None)],
)
def test_labels_to_reach_goes_along_the_lines(target, labels):
    # it falls back to 0.6 after 0.7; the way up again decides beyond 0.7
    reached = labels_to_reach([10, 20, 30, 40, 50], [0.5, 0.7, 0.6, 0.8, 0.9], target)
    assert reached == (None if labels is None else pytest.approx(labels))


def test_interval_by_hand():
    # 1, 2, 3, 4: mean 2.5, sd sqrt(5/3), t(3, 0.975) = 3.1824463
    mean, half_width = mean_and_interval([1.0, 2.0, 3.0, 4.0])
    assert float(mean) == 2.5
    assert float(half_width) == pytest.approx(3.1824463 * np.sqrt(5 / 3) / 2, rel=1e-7)


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.99])
def test_interval_agrees_with_scipy_at_each_round(confidence):
    values = np.random.default_rng(1).random((5, 7))
    mean, half_width = mean_and_interval(values, confidence)
    low, high = scipy.stats.t.interval(confidence, 4, loc=values.mean(0), scale=scipy.stats.sem(values))
    np.testing.assert_allclose(mean - half_width, low)
    np.testing.assert_allclose(mean + half_width, high)


def test_interval_covers_the_true_mean_as_often_as_it_says():
    values = np.random.default_rng(2).normal(size=(4, 4000))
    mean, half_width = mean_and_interval(values)
    assert np.mean(np.abs(mean) <= half_width) == pytest.approx(0.95, abs=0.015)


def test_one_seed_has_no_interval():
    mean, half_width = mean_and_interval([[0.5, 0.6]])
    assert mean.tolist() == [0.5, 0.6]
    assert np.isnan(half_width).all()


@pytest.mark.parametrize("values", [[], [0.5, float("nan")], 0.5])
def test_interval_refuses_values(values):
    with pytest.raises(DalError, match=r"^values: expected .*, got .*\.$"):
        mean_and_interval(values)


def test_interval_refuses_percents_as_confidence():
    with pytest.raises(DalError, match=r"^confidence: expected between 0 and 1, got 95\.$"):
        mean_and_interval([0.1, 0.2], confidence=95)


def test_paired_difference_agrees_with_scipy_and_ignores_what_pairs_share():
    rng = np.random.default_rng(3)
    a, b = rng.random(6), rng.random(6)
    mean, half_width = paired_difference(a, b)
    expected = scipy.stats.ttest_rel(a, b).confidence_interval(0.95)
    assert (mean - half_width, mean + half_width) == pytest.approx((expected.low, expected.high))
    shared = 100 * rng.random(6)
    assert paired_difference(a + shared, b + shared) == pytest.approx((mean, half_width))


def test_paired_difference_refuses_unequal_lengths():
    with pytest.raises(DalError, match=r"^b: expected 2 values, the length of a, got 1\.$"):
        paired_difference([0.1, 0.2], [0.1])
