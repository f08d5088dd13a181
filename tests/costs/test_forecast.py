import math

import numpy as np
import pytest

from dal.costs.forecast import fit_learning_curve
from dal.errors import DalError

LABELS = [100 * i for i in range(1, 11)]


def law(n, a=0.95, b=5.0, c=0.6):
    return a - b * np.asarray(n, dtype=float) ** -c


@pytest.mark.parametrize(("a", "b", "c"), [(0.95, 5.0, 0.6), (0.8, 2.0, 0.3), (1.0, 30.0, 1.0), (0.6, 400.0, 1.5)])
def test_a_power_law_without_noise_is_found(a, b, c):
    curve = fit_learning_curve(LABELS, law(LABELS, a, b, c))
    assert (curve.a, curve.b, curve.c) == pytest.approx((a, b, c), rel=0.01)
    mean, low, high = curve.predict(2000)
    assert low < law(2000, a, b, c) < high
    assert mean == pytest.approx(law(2000, a, b, c), abs=0.006)


@pytest.mark.parametrize("points", [4, 6, 12])
@pytest.mark.parametrize("noise", [0.003, 0.01, 0.02])
def test_the_intervals_cover_what_they_say(points, noise):
    g, covered = np.random.default_rng(points), []
    labels = 100 * np.arange(1, points + 1)
    for _ in range(200):
        a, c, drop = g.uniform(0.7, 0.99), g.uniform(0.2, 1.2), g.uniform(0.2, 0.6)
        b = drop * 100**c
        measured = law(labels, a, b, c) + noise * g.standard_normal(points)
        curve = fit_learning_curve(labels, measured.clip(0, 1))
        last, later = float(labels[-1]), 2.0 * labels[-1]
        at_last, at_later = law([last, later], a, b, c)
        intervals = [curve.predict(last), curve.predict(later), curve.gain(last, later)]
        truths = [at_last, at_later, at_later - at_last]
        covered.append([low <= truth <= high for truth, (_, low, high) in zip(truths, intervals, strict=True)])
    assert np.mean(covered, axis=0).min() >= 0.85


def test_three_points_on_a_power_law_are_no_certainty():
    few = fit_learning_curve(LABELS[:3], law(LABELS[:3]))
    many = fit_learning_curve(LABELS, law(LABELS))
    widths = [high - low for _, low, high in (few.predict(1000), many.predict(1000))]
    assert widths[0] > 0.05 > widths[1]


def test_later_points_weigh_more():
    # Two levels that no power law joins: half of the points at 0.5, half at 0.4, so the best rising curve is flat.
    falling = [0.5] * 5 + [0.4] * 5
    curve = fit_learning_curve(LABELS, falling)
    # Weights 1 to 5 over 0.5, 6 to 10 over 0.4: (15 * 0.5 + 40 * 0.4) / 55.
    assert curve.a - curve.b * 1000**-curve.c == pytest.approx(23.5 / 55, abs=1e-4)


def test_a_flat_curve_gains_nothing():
    wiggle = 0.8 + 0.002 * (-1.0) ** np.arange(10)
    curve = fit_learning_curve(LABELS, wiggle)
    mean, low, high = curve.gain(1000, 1100)
    assert 0 <= low <= mean <= high < 0.01
    assert mean < 0.002
    assert curve.predict(1000)[0] == pytest.approx(0.8, abs=0.005)
    assert curve.labels_to_reach(0.95)[:2] == (math.inf, math.inf)


@pytest.mark.parametrize(
    "accuracy", [[1.0] * 6, [0.0] * 6, [0.9, 0.7, 0.5, 0.3, 0.2, 0.1], [0.1, 0.9, 0.1, 0.9, 0.1, 0.9]]
)
def test_strange_curves_give_shares(accuracy):
    curve = fit_learning_curve(LABELS[:6], accuracy)
    a, b, c = curve.samples.T
    assert len(a) == 200
    assert (a > 0).all()
    assert (a <= 1).all()
    assert (b >= 0).all()
    assert (c > 0).all()
    assert 0 <= curve.gain(600, 700)[1] <= curve.gain(600, 700)[2]


def test_a_falling_curve_is_taken_for_a_constant():
    curve = fit_learning_curve(LABELS, np.linspace(0.9, 0.3, 10))
    assert curve.gain(1000, 5000) == (0, 0, 0)
    _, low, high = curve.predict(1000)
    # The weighted mean of the points: 0.9 - 0.6 * 6 / 9.
    assert low < 0.5 < high


def test_labels_to_reach():
    curve = fit_learning_curve(LABELS, law(LABELS))
    median, low, high = curve.labels_to_reach(0.9)
    # 0.95 - 5 n^-0.6 = 0.9 at n = 100^(1/0.6)
    assert low < 100 ** (1 / 0.6) < high
    assert median == pytest.approx(100 ** (1 / 0.6), rel=0.15)
    assert curve.labels_to_reach(0.9999)[2] == math.inf
    assert all(n == math.ceil(n) for n in (median, low, high))
    assert curve.labels_to_reach(0.7)[0] < 160  # 0.95 - 5 * 160^-0.6 = 0.712


def test_a_target_at_the_median_of_the_asymptotes():
    curve = fit_learning_curve(LABELS[:4], law(LABELS[:4]))
    median, low, high = curve.labels_to_reach(float(np.quantile(curve.samples[:, 0], 0.3)))
    assert low < median < high == math.inf


def test_the_mean_and_the_ends_are_of_the_samples():
    curve = fit_learning_curve(LABELS, law(LABELS), num_samples=50)
    by_hand = [a - b * 1500**-c for a, b, c in curve.samples]
    assert len(by_hand) == 50
    mean, low, high = curve.predict(1500)
    assert mean == pytest.approx(sum(by_hand) / 50)
    assert (low, high) == pytest.approx(tuple(np.quantile(by_hand, [0.025, 0.975])))


def test_the_seed_decides():
    y = law(LABELS)
    assert fit_learning_curve(LABELS, y, seed=3).predict(2000) == fit_learning_curve(LABELS, y, seed=3).predict(2000)
    assert fit_learning_curve(LABELS, y, seed=3).predict(2000) != fit_learning_curve(LABELS, y, seed=4).predict(2000)


@pytest.mark.parametrize(
    ("labels", "accuracy", "message"),
    [
        ([1, 2], [0.1, 0.2], "labels: expected at least 3 points of a learning curve, got 2."),
        ([1, 2, 2], [0.1, 0.2, 0.3], r"labels: expected positive counts that increase, got \[1.0, 2.0, 2.0\]."),
        ([0, 1, 2], [0.1, 0.2, 0.3], "labels: expected positive counts that increase"),
        ([1, 2, math.nan], [0.1, 0.2, 0.3], "labels: expected positive counts that increase"),
        ([1, 2, 3], [0.1, math.nan, 0.3], "accuracy: expected shares from 0 to 1"),
        ([1, 2, 3], [10.0, 20.0, 30.0], "accuracy: expected shares from 0 to 1"),
        ([1, 2, 3], [0.1, 0.2], r"accuracy: expected one value for each count of labels, got shapes \(2,\) and \(3,\)"),
    ],
)
def test_refused(labels, accuracy, message):
    with pytest.raises(DalError, match=f"^{message}"):
        fit_learning_curve(labels, accuracy)


def test_a_forecast_needs_labels():
    curve = fit_learning_curve(LABELS, law(LABELS))
    with pytest.raises(DalError, match="n: expected more than 0 labels, got 0"):
        curve.predict(0)
    with pytest.raises(DalError, match="num_samples: expected at least 1, got 0"):
        fit_learning_curve(LABELS, law(LABELS), num_samples=0)
