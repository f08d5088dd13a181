import numpy as np
import pytest

from dal.analysis.statistics.power_law import fit_power_laws, fitted_levels, shrunk_exponents

N = np.array([[10.0, 5.0], [20.0, 5.0], [40.0, 10.0], [80.0, 10.0], [160.0, 20.0]])


def test_weighted_least_squares_agree_with_polyfit():
    errors = np.random.default_rng(0).uniform(0.1, 0.5, (5, 2))
    tested = np.full((5, 2), 50.0)
    slopes, variances = fit_power_laws(N, errors, tested, 3)
    smooth = (errors * 50 + 0.5) / 51
    for k in range(2):
        # polyfit takes the square roots of weights.
        root = np.sqrt(50 * smooth[:, k] / (1 - smooth[:, k]))
        fit, covariance = np.polyfit(np.log(N[:, k]), np.log(smooth[:, k]), 1, w=root, cov="unscaled")
        assert slopes[k] == pytest.approx(-fit[0])
        assert variances[k] == pytest.approx(covariance[0, 0])
        assert fitted_levels(N, errors, tested, slopes)[k] == pytest.approx(fit[1])


def test_too_few_different_numbers_give_no_exponent():
    slopes, _ = fit_power_laws(N, np.full((5, 2), 0.2), np.full((5, 2), 50.0), 4)
    assert np.isnan(slopes).tolist() == [False, True]


def test_exponents_are_shrunk_by_their_noise():
    exponents, deviations = shrunk_exponents(np.array([0.2, 1.0, np.nan]), np.array([1e-4, 1e-4, np.nan]))
    assert exponents == pytest.approx([0.2, 1.0, 0.6], abs=1e-3)  # precise ones stay
    assert deviations[2] == pytest.approx(np.sqrt(0.32), abs=1e-2)
    exponents, deviations = shrunk_exponents(np.array([0.2, 1.0]), np.array([9.0, 9.0]))
    assert exponents == pytest.approx([0.6, 0.6])
    assert deviations.tolist() == [0, 0]


def test_no_exponent_at_all_remains_unknown():
    assert np.isnan(shrunk_exponents(np.full(2, np.nan), np.full(2, np.nan))[0]).all()
