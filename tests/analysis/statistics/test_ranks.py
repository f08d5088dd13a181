import itertools
import math

import numpy as np
import pytest
import scipy.stats

from dal.analysis.statistics.ranks import nemenyi_quantile, rank_functions
from dal.errors import DalError


def test_ranks_by_hand_with_a_tie():
    found = rank_functions([[0.9, 0.8, 0.7], [0.5, 0.7, 0.7], [0.1 + 0.2, 0.3, 0.1]])
    assert found.ranks.tolist() == [[1, 2, 3], [3, 1.5, 1.5], [1.5, 1.5, 3]]
    assert found.mean.tolist() == pytest.approx([5.5 / 3, 5 / 3, 7.5 / 3])


def test_friedman_by_hand():
    # Mean ranks 4/3, 5/3, 3 on 3 data sets: 12 * 3 / (3 * 4) * (16/9 + 25/9 + 9 - 3 * 16 / 4) = 3 * 14/9
    found = rank_functions([[0.9, 0.8, 0.7], [0.8, 0.9, 0.7], [0.9, 0.8, 0.7]])
    assert found.statistic == pytest.approx(14 / 3)
    assert found.p_value == pytest.approx(math.exp(-14 / 6))  # chi-square with 2 degrees


def test_friedman_agrees_with_scipy():
    scores = np.random.default_rng(0).random((12, 5))
    found = rank_functions(scores)
    expected = scipy.stats.friedmanchisquare(*scores.T)
    assert (found.statistic, found.p_value) == pytest.approx((expected.statistic, expected.pvalue))


@pytest.mark.parametrize(
    ("functions", "quantile"),
    # Demšar (2006), table 5 (a)
    [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (6, 2.850), (7, 2.949), (8, 3.031), (9, 3.102), (10, 3.164)],
)
def test_nemenyi_quantiles_are_those_of_the_paper(functions, quantile):
    assert nemenyi_quantile(functions) == pytest.approx(quantile, abs=1.1e-3)


def test_critical_difference_of_the_papers_example():
    # Four classifiers on 14 data sets: 2.569 sqrt(4 * 5 / (6 * 14)) = 1.25
    found = rank_functions(np.random.default_rng(1).random((14, 4)))
    assert found.critical_difference == pytest.approx(1.25, abs=0.005)


def test_pairs_differ_at_5_percent_where_ranks_are_a_critical_difference_apart():
    rng = np.random.default_rng(2)
    compared = set()
    for _ in range(20):
        found = rank_functions(rng.random((12, 4)) + np.array([0, 0.1, 0.3, 0.4]))
        for i, j in itertools.combinations(range(4), 2):
            apart = abs(found.mean[i] - found.mean[j]) > found.critical_difference
            assert (found.nemenyi[i, j] < 0.05) == apart
            compared.add(apart)
    assert compared == {True, False}


def test_nemenyi_agrees_with_scikit_posthocs():
    posthocs = pytest.importorskip("scikit_posthocs")
    scores = np.random.default_rng(3).random((9, 5)) + np.arange(5) / 10
    expected = posthocs.posthoc_nemenyi_friedman(scores).to_numpy()
    np.testing.assert_allclose(rank_functions(scores).nemenyi, expected, atol=2e-3)


@pytest.mark.parametrize("shape", [(1, 4), (5, 2)])
def test_too_few_are_said_to_be_too_few(shape):
    found = rank_functions(np.random.default_rng(4).random(shape))
    assert math.isnan(found.p_value) and np.isnan(found.nemenyi).all()
    assert found.note == (
        f"no test is possible: Friedman's test needs two data sets and three functions, got {shape[0]} and {shape[1]}"
    )
    assert sorted(found.mean) != [] and found.mean.sum() == pytest.approx(sum(range(1, shape[1] + 1)))


def test_notes_where_nemenyi_cannot_find_anything_and_where_friedman_is_rough():
    rng = np.random.default_rng(5)
    assert "2 data sets are too few for Nemenyi's test: mean ranks must differ by 3.3" in (
        rank_functions(rng.random((2, 4))).note + rank_functions(rng.random((2, 4))).note
    )
    assert rank_functions(rng.random((9, 4))).note.startswith("with 9 data sets, fewer than 10, Friedman's p-value")
    assert rank_functions(rng.random((10, 4))).note == ""


def test_equal_everywhere_is_nothing_to_test():
    found = rank_functions(np.full((3, 3), 0.5))
    assert found.mean.tolist() == [2, 2, 2] and math.isnan(found.p_value)
    assert "no test is possible" in found.note


@pytest.mark.parametrize("scores", [[0.1, 0.2], [[]], [[0.1, math.nan]]])
def test_refusals(scores):
    with pytest.raises(DalError, match=r"^scores: expected "):
        rank_functions(scores)
