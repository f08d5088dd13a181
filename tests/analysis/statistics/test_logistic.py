import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from dal.analysis.statistics.logistic import fit_head, newton_step, standardized


def points(seed=0, number=60, width=6, classes=3):
    generator = np.random.default_rng(seed)
    labels = np.arange(number) % classes
    return generator.standard_normal((number, width)) + labels[:, None], labels


def test_the_head_is_that_of_scikit_learn():
    x, y = points()
    (train,) = standardized(x)
    expected = LogisticRegression(C=0.1, fit_intercept=False, tol=1e-9, max_iter=2000).fit(train, y)
    found = fit_head(train, y, 3).log_probs(train)
    assert found == pytest.approx(expected.predict_log_proba(train), abs=1e-4)


def test_the_start_does_not_matter():
    x, y = points()
    (train,) = standardized(x)
    full = fit_head(train, y, 3)
    assert fit_head(train[9:], y[9:], 3, full).weights == pytest.approx(fit_head(train[9:], y[9:], 3).weights, abs=1e-4)


def test_one_newton_step_is_close_to_the_refit():
    x, y = points(number=300)
    (train,) = standardized(x)
    full = fit_head(train, y, 3)
    refit, step = fit_head(train[10:], y[10:], 3), newton_step(train[10:], y[10:], full)
    before, after = np.abs(full.weights - refit.weights).max(), np.abs(step.weights - refit.weights).max()
    assert after < before / 20


def test_rotating_many_features_into_the_space_of_the_points_changes_no_fit():
    generator = np.random.default_rng(0)
    x, y = generator.standard_normal((12, 40)), np.arange(12) % 3
    test = generator.standard_normal((5, 40))
    train, others = standardized(x, test)
    assert train.shape == (12, 12)
    scaled = [np.hstack([(z - x.mean(axis=0)) / x.std(axis=0), np.ones((len(z), 1))]) for z in (x, test)]
    expected = fit_head(scaled[0], y, 3).log_probs(scaled[1])
    assert fit_head(train, y, 3).log_probs(others) == pytest.approx(expected, abs=1e-5)


def test_features_that_do_not_vary_or_are_infinite_do_no_harm():
    x, y = points()
    x[:, 2] = 7.0
    x[0, 1] = np.inf
    train, test = standardized(x, np.full((2, 6), np.inf))
    assert np.isfinite(fit_head(train, y, 3).log_probs(test)).all()


def test_a_class_without_labels_has_a_finite_loss():
    x, y = points()
    log_probs = fit_head(standardized(x)[0], y, 4).log_probs(standardized(x)[0])
    assert -6 < log_probs[:, 3].mean() < -2
