from dataclasses import replace

import numpy as np
import pytest
from helpers.simulated_history import simulated_history

from dal.analysis.diagnosis.confusion import change_between, confusion_of, confusion_table, confusions
from dal.analysis.diagnosis.history import NOT_TESTED


def test_matrices_count_the_predictions_of_each_round():
    history = simulated_history(images=20)
    found = confusions(history)
    assert [matrix.round for matrix in found] == list(range(15))
    assert all((matrix.counts.sum(axis=1) == 20).all() for matrix in found)
    last = found[-1]
    assert last.recall == pytest.approx(history.right[-1].reshape(10, 20).mean(axis=1))
    assert ((last.low <= last.share) & (last.share <= last.high) & (last.low < last.high)).all()


def test_a_class_that_another_one_takes_over_is_a_changed_cell_and_noise_is_pale():
    recall = np.full((4, 5), 0.95)
    history = simulated_history(recall=recall)
    predicted = history.test_predicted.copy()
    moved = history.of_class(1)[:20]
    predicted[3, moved] = 4
    change = change_between(replace(history, test_predicted=predicted), 2, 3)
    assert change.changed[1, 4]
    assert change.change[1, 4] > 0.3
    assert change.changed[1, 1]
    assert change.change[1, 1] < -0.3
    others = np.delete(change.changed, 1, axis=0)
    assert others.mean() < 0.1


def test_changes_of_a_growing_test_set_are_on_the_points_that_both_rounds_tested():
    history = simulated_history(recall=np.full((3, 3), 0.9), images=40)
    predicted = history.test_predicted.copy()
    predicted[0, ::2] = NOT_TESTED
    predicted[1] = predicted[0]
    predicted[1, ::2] = 0  # new points, all predicted as class 0
    change = change_between(replace(history, test_predicted=predicted), 0, 1)
    assert (change.change == 0).all()
    assert not change.changed.any()


def test_rounds_without_common_points_know_no_change():
    history = simulated_history(recall=np.full((2, 3), 0.9), images=10)
    predicted = history.test_predicted.copy()
    predicted[0, :15], predicted[1, 15:] = NOT_TESTED, NOT_TESTED
    change = change_between(replace(history, test_predicted=predicted), 0, 1)
    assert np.isnan(change.change).all()
    assert not change.changed.any()


def test_the_table_has_every_cell_with_points_and_compares_with_the_round_before_that_has_records():
    history = simulated_history(images=20)
    predicted = history.test_predicted.copy()
    predicted[[0, 3]] = NOT_TESTED
    history = replace(history, test_predicted=predicted)
    table = confusion_table(history)
    assert table["round"].unique().tolist() == [1, 2, *range(4, 15)]
    assert (table.groupby("round")["count"].sum() == 200).all()
    first, fourth = table[table["round"] == 1], table[table["round"] == 4]
    assert first["change"].isna().all()
    assert not first["changed"].any()
    expected = change_between(history, 2, 4)
    assert fourth["change"].to_numpy() == pytest.approx(expected.change[fourth["class"], fourth["predicted"]])


def test_without_test_points_there_is_no_matrix():
    history = simulated_history(images=0)
    assert confusions(history) == []
    assert len(confusion_table(history)) == 0
    assert confusion_of(history, 3).counts.sum() == 0
