import math

import pytest

from dal.errors import DalError
from dal.runs.wilson import wilson_interval


def by_score_test(successes, trials, z=1.959963984540054):
    """The ends of the interval, found by bisection of the score test |share - p| <= z * sqrt(p (1 - p) / n)."""
    share = successes / trials

    def rejected(p):
        return abs(share - p) > z * math.sqrt(p * (1 - p) / trials)

    def end(inside, outside):
        if not rejected(outside):
            return outside
        for _ in range(200):
            middle = (inside + outside) / 2
            inside, outside = (inside, middle) if rejected(middle) else (middle, outside)
        return inside

    return end(share, 0.0), end(share, 1.0)


@pytest.mark.parametrize("trials", [1, 2, 7, 30, 100, 1999])
def test_it_is_the_score_test_inverted(trials):
    for successes in sorted({0, 1, trials // 3, trials // 2, trials - 1, trials}):
        assert wilson_interval(successes, trials) == pytest.approx(by_score_test(successes, trials), abs=1e-9)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),  # z² / (n + z²)
        (10, 10, 0.7225, 1.0),
        (1, 1, 0.2065, 1.0),
        (5, 10, 0.2366, 0.7634),
        (81, 263, 0.2553, 0.3662),  # this one and the next three: Newcombe, Statistics in Medicine 1998, table I
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_known_intervals(successes, trials, low, high):
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=5.1e-5)


def test_it_is_symmetric_and_stays_within_shares():
    for trials in range(1, 40):
        for successes in range(trials + 1):
            low, high = wilson_interval(successes, trials)
            assert 0 <= low <= successes / trials <= high <= 1
            assert wilson_interval(trials - successes, trials) == pytest.approx((1 - high, 1 - low))


def test_it_holds_the_true_share_about_as_often_as_it_says():
    """The exact coverage, summed over the binomial distribution of 100 test labels."""
    for share in (0.5, 0.8, 0.9, 0.95):
        covered = sum(
            math.comb(100, k) * share**k * (1 - share) ** (100 - k)
            for k in range(101)
            if wilson_interval(k, 100)[0] <= share <= wilson_interval(k, 100)[1]
        )
        assert 0.92 < covered < 0.98


def test_no_trials_say_nothing():
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_another_level_is_wider():
    assert wilson_interval(50, 100, 0.99)[0] < wilson_interval(50, 100)[0]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ((3, 2), "successes: expected a count from 0 to 2, got 3."),
        ((-1, 2), "successes: expected a count from 0 to 2, got -1."),
        ((0, -1), "trials: expected at least 0, got -1."),
        ((1, 2, 1.0), "level: expected a share between 0 and 1, got 1.0."),
    ],
)
def test_counts_that_are_no_share_are_refused(values, sentence):
    with pytest.raises(DalError) as error:
        wilson_interval(*values)
    assert str(error.value) == sentence
