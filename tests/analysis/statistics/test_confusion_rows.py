import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from dal.analysis.statistics.confusion_rows import confusion_counts, row_changes, row_intervals, row_shares
from dal.errors import DalError


def test_counts_are_those_of_scikit_learn():
    generator = np.random.default_rng(0)
    label, predicted = generator.integers(0, 4, 50), generator.integers(0, 5, 50)
    assert (confusion_counts(label, predicted, 6) == confusion_matrix(label, predicted, labels=range(6))).all()


def test_without_points_the_matrix_is_empty():
    assert confusion_counts([], [], 2).tolist() == [[0, 0], [0, 0]]
    assert np.isnan(row_shares(np.zeros((2, 2)))).all()


@pytest.mark.parametrize(("label", "predicted"), [([0, 2], [0, 1]), ([0, 1], [-1, 1]), ([0], [0, 1])])
def test_classes_out_of_range_and_other_shapes_are_bad(label, predicted):
    with pytest.raises(DalError, match=r"label|predicted"):
        confusion_counts(label, predicted, 2)


def test_intervals_hold_in_95_percent_of_draws():
    generator = np.random.default_rng(0)
    rates = np.array([0.6, 0.2, 0.15, 0.05])
    held = []
    for shift in np.linspace(-0.03, 0.03, 13):  # coverage of counts jumps with the rate
        shifted = rates + np.array([shift, -shift, 0, 0])
        low, high = row_intervals(generator.multinomial(60, shifted, size=400))
        held.append((low <= shifted) & (shifted <= high))
    assert 0.93 < np.mean(held) < 0.97


def test_intervals_are_those_of_draws_from_the_posterior():
    generator = np.random.default_rng(0)
    low, high = row_intervals([[45, 4, 1]])
    for cell, count in enumerate([45, 4, 1]):
        draws = generator.beta(count + 0.5, 50 - count + 0.5, size=40_000)
        assert (low[0, cell], high[0, cell]) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])), abs=0.005)


def test_intervals_are_those_of_statsmodels():
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    low, high = row_intervals([[45, 4, 1]])
    for cell, count in enumerate([45, 4, 1]):
        assert proportion.proportion_confint(count, 50, method="jeffreys") == pytest.approx(
            (low[0, cell], high[0, cell])
        )


def test_intervals_hold_what_was_seen_with_more_classes_than_images():
    counts = np.zeros((1, 200))
    counts[0, 7] = 20
    low, high = row_intervals(counts)
    assert 0.85 < low[0, 7] < high[0, 7] == 1
    assert low[0, 8] == 0


def test_rows_without_points_and_a_single_class_have_intervals():
    for counts in ([[0, 0], [3, 1]], [[7]]):
        low, high = row_intervals(counts)
        assert np.isfinite(low).all()
        assert (low < high).all()


def test_intervals_of_changes_hold_in_95_percent_of_runs():
    generator = np.random.default_rng(0)
    moves = np.array([[0.6, 0.05, 0.02], [0.1, 0.1, 0.02], [0.02, 0.04, 0.05]])  # from, to
    truth = moves.sum(axis=0) - moves.sum(axis=1)
    held = []
    for _ in range(1000):
        move = generator.choice(9, size=80, p=moves.ravel())
        low, high = row_changes(np.zeros(80, int), move // 3, move % 3, 3)
        held.append((low[0] <= truth) & (truth <= high[0]))
    assert np.mean(held, axis=0) == pytest.approx(0.95, abs=0.02)


def test_points_that_stay_change_nothing():
    low, high = row_changes([0, 0, 1], [0, 1, 1], [0, 1, 1], 3)
    assert (low < 0).all()
    assert (high > 0).all()
    assert (low[2], high[2]) == (pytest.approx([-1] * 3), pytest.approx([1] * 3))
