from math import comb

import numpy as np
import pytest
from scipy import stats

from dal.analysis.statistics.mcnemar import exact_mcnemar, least_losses
from dal.errors import DalError


def test_p_values_are_those_of_binomial_tests():
    for losses in range(13):
        for gains in range(6):
            expected = stats.binomtest(losses, losses + gains, 0.5, "greater").pvalue if losses + gains else 1.0
            by_hand = sum(comb(losses + gains, k) for k in range(losses, losses + gains + 1)) / 2 ** (losses + gains)
            assert exact_mcnemar(losses, gains) == pytest.approx(expected)
            assert exact_mcnemar(losses, gains) == pytest.approx(by_hand)


def test_twice_the_p_value_is_that_of_statsmodels():
    tables = pytest.importorskip("statsmodels.stats.contingency_tables")
    found = tables.mcnemar([[30, 14], [3, 3]], exact=True).pvalue
    assert 2 * exact_mcnemar(14, 3) == pytest.approx(found)


def test_twelve_unopposed_losses_are_the_least_for_ten_classes_and_fifteen_rounds():
    alpha = 0.05 / 140
    assert exact_mcnemar(least_losses(alpha), 0) < alpha <= exact_mcnemar(least_losses(alpha) - 1, 0)


def test_a_level_of_exactly_a_power_of_a_half_needs_one_loss_more():
    assert least_losses(0.125) == 4


def test_under_chance_at_most_5_percent_are_below_5_percent():
    generator = np.random.default_rng(0)
    losses = generator.binomial(30, 0.5, 4000)
    assert 0.03 < np.mean(exact_mcnemar(losses, 30 - losses) < 0.05) <= 0.055


def test_negative_counts_and_levels_outside_0_and_1_are_bad():
    with pytest.raises(DalError, match="losses, gains"):
        exact_mcnemar(-1, 2)
    with pytest.raises(DalError, match="alpha"):
        least_losses(0.0)
