import numpy as np
import pytest

from dal.analysis.statistics.label_shift import share_draws, share_limits
from dal.errors import DalError


def rows_of(recall):
    """(C, C) rates: what is not right is spread over the other classes."""
    num = len(recall)
    return np.where(np.eye(num, dtype=bool), recall[:, None], (1 - recall[:, None]) / (num - 1))


def test_without_noise_the_shares_are_the_solution_of_the_equations():
    rates, shares = rows_of(np.array([0.9, 0.7, 0.8])), np.array([0.5, 0.1, 0.4])
    counts = np.round(1e7 * shares @ rates)
    draws = share_draws(1e7 * rates, counts, np.random.default_rng(0))
    assert np.median(draws, axis=0) == pytest.approx(shares, abs=0.002)
    assert draws.sum(axis=1) == pytest.approx(1, abs=1e-6)


def test_upper_limits_hold_in_at_least_95_percent_of_pools():
    generator = np.random.default_rng(0)
    held, below = [], []
    for _ in range(120):
        rates = rows_of(generator.uniform(0.7, 0.95, 5))
        shares = generator.dirichlet(np.ones(5))
        confusion = np.stack([generator.multinomial(50, row) for row in rates])
        pool = generator.multinomial(800, shares)
        counts = sum(generator.multinomial(n, row) for n, row in zip(pool, rates, strict=True))
        low, high = share_limits(share_draws(confusion, counts, generator))
        held.append(pool / 800 <= high)
        below.append(low <= pool / 800)
    assert np.mean(held) > 0.94
    assert np.mean(below) > 0.94


def test_the_same_generator_gives_the_same_draws():
    one, other = (share_draws([[9, 1], [2, 8]], [5, 6], np.random.default_rng(3)) for _ in range(2))
    assert (one == other).all()


def test_a_class_without_test_points_is_unknown_and_the_others_are_not():
    draws = share_draws([[95, 3, 2], [0, 0, 0], [1, 1, 98]], [480, 200, 320], np.random.default_rng(0))
    low, high = share_limits(draws)
    assert np.isnan(high[1])
    assert low[0] < 0.5 < high[0]
    assert low[2] < 0.32 < high[2]
    assert np.isnan(share_draws(np.zeros((2, 2)), [3, 4], np.random.default_rng(0))).all()


def test_a_class_that_is_never_predicted_leaves_every_share_open():
    # Of class 2 nothing is known: its points are taken for class 1.
    _, high = share_limits(share_draws([[50, 0, 0], [0, 50, 0], [0, 50, 0]], [500, 500, 0], np.random.default_rng(0)))
    assert high[1] > 0.4
    assert high[2] > 0.4


def test_other_shapes_and_no_predictions_are_bad():
    with pytest.raises(DalError, match="confusion"):
        share_draws(np.eye(3), [1, 2], np.random.default_rng(0))
    with pytest.raises(DalError, match="predicted"):
        share_draws(np.eye(2), [0, 0], np.random.default_rng(0))
