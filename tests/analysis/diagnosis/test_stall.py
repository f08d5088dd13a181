from dataclasses import replace

import numpy as np
import pytest
from helpers.simulated_history import simulated_history

from dal.analysis.diagnosis.stall import detect


def stalled(images=400, last=0.7):
    """Class 4 stays at ``last`` and gets no labels from round 5 on, while its predictions are the same."""
    recall = np.full((9, 10), 0.95)
    recall[:, 4] = last
    history = simulated_history(0, recall, images=images, probabilities=False, query=40, gone=(4, 5))
    predicted = history.test_predicted.copy()
    predicted[6:] = predicted[5]
    return replace(history, test_predicted=predicted)


def test_a_class_that_gets_no_labels_and_stays_worse_is_found_with_the_reason():
    found = detect(stalled())
    assert [finding.classes for finding in found.findings] == [(4,)]
    sentence = found.findings[0].sentence
    assert sentence.startswith("class 4 has not improved from round 5 to 8: 29.2 % of")
    assert (
        " its 400 test images are wrong, against 5.3 % of the median class, and the gain is at most 0.4 %" in sentence
    )
    assert "exact test of a gain: p = 1.00; 10 classes were looked at)" in sentence
    assert sentence.endswith("None of the 106 new labels is of class 4, and less than 2 % of the pool is class 4.")


def test_without_the_pool_the_reason_is_left_out():
    history = stalled()
    found = detect(replace(history, pool=[None] * 9))
    assert found.findings[0].sentence.endswith("None of the 106 new labels is of class 4.")


def test_clean_runs_do_not_stall():
    found = [detect(simulated_history(seed, images=100, probabilities=False)) for seed in range(10)]
    assert [finding.sentence for one in found for finding in one.findings] == []


def with_labels(history):
    labels = history.new_labels.copy()
    labels[7, 4] = 1
    return replace(history, new_labels=labels)


def without_growth(history):
    bought = history.labels_bought.copy()
    bought[5:] = bought[5] + np.arange(4)
    return replace(history, labels_bought=bought)


def with_gain(history):
    predicted = history.test_predicted.copy()
    wrong = history.of_class(4)[~history.right[5, history.of_class(4)]]
    predicted[8, wrong[:12]] = 4
    return replace(history, test_predicted=predicted)


@pytest.mark.parametrize("change", [with_labels, without_growth, with_gain])
def test_a_class_with_labels_or_a_gain_or_in_a_run_without_growth_does_not_stall(change):
    assert detect(change(stalled())).findings == ()


def test_a_class_that_is_as_good_as_the_others_does_not_stall():
    assert detect(stalled(last=0.95)).findings == ()


def test_few_test_images_leave_it_open():
    found = detect(stalled(images=60))
    assert found.unknown
    assert found.quiet == (
        "It cannot be told for class 4: worse than the median class and without new labels, but too few test images to "
        "rule out a gain of 2 %."
    )


def test_a_short_run_and_one_without_a_test_set_cannot_tell():
    assert detect(simulated_history(recall=np.full((3, 5), 0.9))).quiet.startswith("4 rounds in a row")
    found = detect(simulated_history(images=0))
    assert found.unknown
    assert found.quiet.startswith("Without predictions of a test set")


def test_the_table_has_each_class_with_test_images_in_each_span():
    images = np.full(10, 100)
    images[3] = 0
    found = detect(simulated_history(0, np.full((6, 10), 0.9), images=images, probabilities=False))
    table = found.tables["stall"]
    assert sorted(set(zip(table["since"], table["round"], strict=True))) == [(0, 3), (1, 4), (2, 5)]
    assert len(table) == 27
    assert 3 not in set(table["class"])
