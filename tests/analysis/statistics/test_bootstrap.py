import math

import numpy as np
import pytest
import scipy.stats

from dal.analysis.statistics.bootstrap import bootstrap_interval, expanded_level, resampled_weights
from dal.errors import DalError


def test_weights_are_resamples_and_repeat():
    weights = resampled_weights(5, 4000)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    assert set(np.unique(np.round(5 * weights, 9))) == set(range(6))
    np.testing.assert_array_equal(weights, resampled_weights(5, 4000))
    assert (weights != resampled_weights(5, 4000, seed=1)).any()
    # a seed is drawn 5 times with probability 1/5 each: mean 1, variance 4/5
    np.testing.assert_allclose((5 * weights).mean(axis=0), 1, atol=0.06)
    np.testing.assert_allclose((5 * weights).var(axis=0), 0.8, atol=0.06)


def test_level_is_hesterbergs():
    for seeds in (3, 5, 10):
        z = scipy.stats.norm.ppf(expanded_level(0.025, seeds))
        assert z * math.sqrt((seeds - 1) / seeds) == pytest.approx(scipy.stats.t.ppf(0.025, seeds - 1))


def test_interval_is_at_the_places_that_numpy_takes():
    values = np.random.default_rng(0).normal(size=5000)
    level = expanded_level(0.025, 8)
    low, high = bootstrap_interval(values, 8)
    assert low == np.quantile(values, level, method="inverted_cdf")
    assert high == -np.quantile(-values, level, method="inverted_cdf")


def test_interval_agrees_with_scipy_at_the_same_level():
    sample = np.random.default_rng(1).normal(size=12)
    low, high = bootstrap_interval(resampled_weights(12, 20_000) @ sample, 12)
    expected = scipy.stats.bootstrap(
        (sample,),
        np.mean,
        confidence_level=1 - 2 * expanded_level(0.025, 12),
        method="percentile",
        n_resamples=20_000,
        random_state=np.random.default_rng(2),  # rng= in SciPy 1.15, which takes both
    ).confidence_interval
    spread = sample.std() / math.sqrt(12)
    assert low == pytest.approx(expected.low, abs=0.15 * spread)
    assert high == pytest.approx(expected.high, abs=0.15 * spread)


def test_a_mean_of_five_is_covered_nearly_as_often_as_it_says():
    rng, weights = np.random.default_rng(3), resampled_weights(5, 2000)
    covered = []
    for _ in range(400):
        low, high = bootstrap_interval(weights @ rng.normal(size=5), 5)
        covered.append(low <= 0 <= high)
    assert 0.88 < np.mean(covered) < 0.97  # a plain percentile interval: 0.82


def test_infinity_and_the_unknown_stay_at_the_ends():
    assert bootstrap_interval([1.0, 2.0, math.inf], 50) == (1.0, math.inf)
    low, high = bootstrap_interval([1.0, 2.0, math.nan], 50)
    assert (low, high) == (-math.inf, math.inf)
    assert bootstrap_interval([math.inf] * 3, 50) == (math.inf, math.inf)


def test_one_seed_has_no_interval():
    assert all(map(math.isnan, bootstrap_interval([1.0, 1.0], 1)))


def test_refusals():
    with pytest.raises(DalError, match=r"^replicates: expected shape \(R,\) with R >= 1, got \(0,\)\.$"):
        bootstrap_interval([], 5)
    with pytest.raises(DalError, match=r"^confidence: expected between 0 and 1, got 95\.$"):
        bootstrap_interval([1.0], 5, confidence=95)
    with pytest.raises(DalError, match=r"^num_seeds, num_resamples: expected at least 1, got \(0, 5\)\.$"):
        resampled_weights(0, 5)
