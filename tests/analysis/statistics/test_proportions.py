import numpy as np
import pytest
from scipy import stats

from dal.analysis.statistics.proportions import paired_change, wilson_lower, wilson_upper
from dal.errors import DalError
from dal.runs.wilson import wilson_interval


def test_one_sided_limits_are_those_of_scipy():
    for count, total in [(0, 7), (7, 7), (45, 50), (1, 3), (990, 1000)]:
        low = stats.binomtest(count, total, alternative="greater").proportion_ci(0.95, "wilson").low
        high = stats.binomtest(count, total, alternative="less").proportion_ci(0.95, "wilson").high
        assert wilson_lower(count, total) == pytest.approx(low, abs=1e-12)
        assert wilson_upper(count, total) == pytest.approx(high, abs=1e-12)


def test_two_limits_at_95_percent_are_the_interval_at_90_percent():
    assert wilson_interval(91, 100, 0.9) == pytest.approx((float(wilson_lower(91, 100)), float(wilson_upper(91, 100))))


def test_limits_are_those_of_statsmodels():
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    low, high = proportion.proportion_confint(45, 50, alpha=0.1, method="wilson")
    assert (wilson_lower(45, 50), wilson_upper(45, 50)) == pytest.approx((low, high))


def test_without_trials_nothing_is_known():
    assert (wilson_lower(0, 0), wilson_upper(0, 0)) == (0.0, 1.0)
    assert [float(end) for end in paired_change(0, 0, 0)] == [-1.0, 1.0]


@pytest.mark.parametrize(
    "call", [lambda: wilson_lower(3, 2), lambda: wilson_upper(-1, 2), lambda: paired_change(2, 2, 3)]
)
def test_counts_that_are_no_share_are_bad(call):
    with pytest.raises(DalError, match="expected counts"):
        call()


def test_a_level_outside_0_and_1_is_bad():
    with pytest.raises(DalError, match="level: expected a share"):
        wilson_lower(1, 2, 1.0)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.8])
def test_lower_limits_hold_in_95_percent_of_samples(share):
    # Exact coverage: the sum of the probabilities of the samples whose limit is below the share. It jumps with the
    # share, as that of every exact count does, so it is averaged over shares nearby.
    counts = np.arange(51)
    near = np.linspace(share - 0.04, share + 0.04, 41)
    held = [stats.binom.pmf(counts, 50, p)[wilson_lower(counts, 50) <= p].sum() for p in near]
    assert np.mean(held) == pytest.approx(0.95, abs=0.02)


def test_limits_of_a_paired_change_hold_in_95_percent_of_samples():
    generator = np.random.default_rng(0)
    gain, loss = 0.05, 0.15
    gains, losses, _ = generator.multinomial(80, [gain, loss, 1 - gain - loss], size=4000).T
    low, high = paired_change(gains, losses, 80)
    assert np.mean(low <= gain - loss) == pytest.approx(0.95, abs=0.015)
    assert np.mean(high >= gain - loss) == pytest.approx(0.95, abs=0.015)
