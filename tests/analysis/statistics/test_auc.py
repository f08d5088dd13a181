import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from dal.analysis.statistics.auc import delong
from dal.errors import DalError


def by_pairs(positive, negative):
    """The definition: a loop over all pairs."""
    wins = np.array([[float(x > y) + 0.5 * (x == y) for y in negative] for x in positive])
    of_positive, of_negative = wins.mean(axis=1), wins.mean(axis=0)
    variance = of_positive.var(ddof=1) / len(positive) + of_negative.var(ddof=1) / len(negative)
    return wins.mean(), math.sqrt(variance)


@pytest.mark.parametrize("digits", [1, 8], ids=["with ties", "without ties"])
def test_area_and_error_are_those_of_the_loop_over_pairs(digits):
    generator = np.random.default_rng(0)
    x, y = generator.normal(0.7, 1, 23).round(digits), generator.normal(0, 1, 31).round(digits)
    area, error = delong(x, y)
    assert (area, error) == pytest.approx(by_pairs(x, y))
    truth = np.r_[np.ones(23), np.zeros(31)]
    assert area == pytest.approx(roc_auc_score(truth, np.r_[x, y]))


def test_intervals_hold_in_95_percent_of_samples():
    generator = np.random.default_rng(1)
    truth = 0.7602  # of two normal distributions that are one standard deviation apart
    held = 0
    for _ in range(600):
        area, error = delong(generator.normal(1, 1, 40), generator.normal(0, 1, 40))
        held += abs(area - truth) <= 1.96 * error
    assert held / 600 == pytest.approx(0.95, abs=0.03)


def test_one_point_has_an_area_without_an_error():
    area, error = delong([1.0], [0.0, 2.0])
    assert area == 0.5
    assert math.isnan(error)


@pytest.mark.parametrize(("x", "y"), [([], [1.0]), ([1.0], []), ([math.nan], [1.0])])
def test_empty_samples_and_nan_are_bad(x, y):
    with pytest.raises(DalError, match="positive, negative"):
        delong(x, y)
