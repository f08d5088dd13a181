from dataclasses import replace

import numpy as np
import pytest
from helpers.simulated_history import simulated_history
from scipy import stats

from dal.analysis.diagnosis.association import _spearman, detect, permutation_p_value
from dal.analysis.diagnosis.history import NOT_TESTED


def linked(seed=0, rounds=12, classes=8, images=60, link=True):
    """Each class's recall rises in the rounds that buy its labels."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 8, (rounds, classes))
    steps = labels if link else generator.integers(0, 8, (rounds, classes))
    recall = np.clip(0.2 + np.cumsum(steps, axis=0) / (9 * rounds), 0, 0.99)
    return simulated_history(seed, recall, images=images, new_labels=labels, probabilities=False)


def test_correlations_are_those_of_scipy():
    generator = np.random.default_rng(0)
    labels, change = generator.integers(0, 4, (9, 3)).astype(float), generator.integers(-2, 3, (9, 3)).astype(float)
    found = _spearman(labels, change)
    for row in range(3):
        for column in range(3):
            assert found[row, column] == pytest.approx(stats.spearmanr(labels[:, row], change[:, column]).statistic)


def test_labels_that_raise_the_recall_of_their_class_are_seen():
    found = detect(linked(images=150))
    assert len(found.findings) == 1
    assert found.findings[0].sentence.startswith(
        "Over all classes, recall rose more in the rounds that bought more labels of the class (mean rank correlation "
    )
    assert found.findings[0].sentence.endswith("one look).")
    assert found.findings[0].weight == 0


def test_without_a_link_about_one_run_in_twenty_is_an_alarm():
    alarms = [bool(detect(linked(seed, images=20, link=False)).findings) for seed in range(60)]
    assert np.mean(alarms) < 0.12


def test_labels_that_all_classes_share_are_no_association():
    # All classes gain in the same rounds, in which all get the most labels.
    history = linked(images=40)
    labels = np.tile(np.array([8, 2, 8, 2, 8, 2, 8, 2, 8, 2, 8, 2])[:, None], 8)
    recall = np.clip(0.2 + np.cumsum(labels, axis=0) / 100, 0, 0.95)
    shared = simulated_history(0, recall, images=40, new_labels=labels, probabilities=False)
    assert detect(shared).findings == ()
    assert detect(replace(shared, new_labels=history.new_labels)).findings == ()


def test_p_values_of_all_and_of_random_permutations_agree():
    generator = np.random.default_rng(1)
    small = generator.normal(size=(7, 7)) / 4 + 0.15 * np.eye(7)
    exact = permutation_p_value(small)
    # Two classes without any correlation make random permutations of nine.
    large = np.zeros((9, 9))
    large[:7, :7] = small
    rows = np.array([generator.permutation(9) for _ in range(20_000)])
    expected = np.mean(large[rows, np.arange(9)].sum(axis=1) >= np.trace(large) - 1e-9)
    assert permutation_p_value(large) == pytest.approx(expected, abs=0.015)
    assert 0 < exact < 1


@pytest.mark.parametrize(
    ("history", "said"),
    [
        (simulated_history(images=0), "Without predictions of a test set"),
        (linked(rounds=4), "3 changes of recall: a correlation needs"),
        (linked(classes=3), "3 classes with test images and with new labels"),
    ],
    ids=["no test set", "few rounds", "few classes"],
)
def test_what_cannot_be_told_is_said(history, said):
    found = detect(history)
    assert found.unknown
    assert found.quiet.startswith(said)


def test_rounds_without_records_and_classes_without_test_points_are_left_out():
    history = linked(classes=9)
    predicted = history.test_predicted.copy()
    predicted[5] = NOT_TESTED
    predicted[:, history.of_class(8)] = NOT_TESTED
    found = detect(replace(history, test_predicted=predicted))
    assert not found.unknown
    assert found.tables["association"][["classes", "rounds"]].to_numpy().tolist() == [[8, 9]]
