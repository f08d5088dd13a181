import math

import numpy as np
import pytest
import scipy.stats

from dal.analysis.statistics.paired_tests import holm, paired_differences, paired_p_values
from dal.errors import DalError


def test_p_value_by_hand():
    # differences 1, 2, 3: mean 2, sd 1, t = 2 sqrt(3); Student with 2 degrees: P(|T| > t) = 1 - t / sqrt(2 + t^2)
    t = 2 * math.sqrt(3)
    expected = 1 - t / math.sqrt(2 + t**2)
    assert float(paired_p_values([11, 22, 33], [10, 20, 30])) == pytest.approx(expected, rel=1e-12)
    assert float(paired_p_values([10, 20, 30], [11, 22, 33])) == pytest.approx(expected, rel=1e-12)


def test_five_seeds_reject_where_t_is_above_2_776():
    # mean 1 and sd s: t = sqrt(5) / s, against the 97.5 % quantile of 4 degrees, 2.776445
    shape = np.array([-1, -1, 0, 1, 1])  # mean 0, sd 1
    for t, rejected in ((2.7764, False), (2.7765, True)):
        values = 1 + shape * math.sqrt(5) / t
        assert (float(paired_p_values(values, np.zeros(5))) < 0.05) == rejected


def test_p_values_agree_with_scipy_at_each_round():
    rng = np.random.default_rng(0)
    a, b = rng.random((6, 9)), rng.random((6, 9))
    np.testing.assert_allclose(paired_p_values(a, b), scipy.stats.ttest_rel(a, b).pvalue, rtol=1e-9)


def test_equal_pairs_and_constant_differences_are_certain():
    assert float(paired_p_values([0.1 + 0.2, 0.5], [0.3, 0.5])) == 1.0
    assert float(paired_p_values([0.3, 0.5], [0.2, 0.4])) == 0.0
    assert math.isnan(float(paired_p_values([0.3], [0.2])))


def test_rounding_is_no_difference():
    assert paired_differences([0.1 + 0.2, 0.5], [0.3, 0.4]).tolist() == [0.0, pytest.approx(0.1)]


@pytest.mark.parametrize(("a", "b"), [([0.1, 0.2], [0.1]), ([], []), (0.1, 0.2), ([0.1, math.nan], [0.1, 0.2])])
def test_what_is_not_paired_is_refused(a, b):
    with pytest.raises(DalError, match=r"^(b|a, b): expected "):
        paired_p_values(a, b)


def test_holm_by_hand():
    # sorted 0.005, 0.01, 0.03, 0.04, times 4, 3, 2, 1: 0.02, 0.03, 0.06, 0.04; never below the one before
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]).tolist() == [1.0, 1.0]
    assert holm([]).tolist() == []


def rejected_step_by_step(p_values, alpha):
    """The procedure as Holm states it: from the smallest on, until one is above alpha over what is left."""
    left, rejected = sorted(range(len(p_values)), key=lambda i: p_values[i]), set()
    while left and p_values[left[0]] <= alpha / len(left):
        rejected.add(left.pop(0))
    return rejected


def test_holm_rejects_what_the_procedure_rejects():
    rng = np.random.default_rng(1)
    for _ in range(50):
        p_values = rng.random(8) ** 4
        adjusted = holm(p_values)
        for alpha in (0.01, 0.05, 0.2):
            assert set(np.flatnonzero(adjusted <= alpha)) == rejected_step_by_step(p_values, alpha)


def test_holm_agrees_with_statsmodels():
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    p_values = np.random.default_rng(2).random(20) ** 3
    np.testing.assert_allclose(holm(p_values), multitest.multipletests(p_values, method="holm")[1], rtol=1e-12)


def test_tests_that_could_not_be_made_do_not_count():
    adjusted = holm([0.01, math.nan, 0.04])
    assert adjusted[[0, 2]].tolist() == [0.02, 0.04]
    assert math.isnan(adjusted[1])


@pytest.mark.parametrize("p_values", [[1.5], [-0.1], [[0.1]]])
def test_holm_refuses(p_values):
    with pytest.raises(DalError, match=r"^p_values: expected "):
        holm(p_values)
