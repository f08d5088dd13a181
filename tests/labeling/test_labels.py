"""What a learner is told: people's answers, corrections, and points that are held out."""

import pytest
import torch
from helpers.labelers import Labelers

from dal.errors import DalError
from dal.labeling.labels import Labels


@pytest.fixture
def labels(data):
    return Labels(data)


@pytest.fixture
def ana(tmp_path, data):
    return Labelers(tmp_path, data)


def told(labels):
    return dict(zip(labels.pool.labeled.tolist(), labels.pool.labels(labels.pool.labeled).tolist(), strict=True))


def test_new_labels_follow_the_order_in_which_they_were_asked_and_volunteers_come_last(labels, ana):
    for index, name in ((50, "top"), (3, "left"), (40, "top"), (7, "bright")):
        ana.label(index, name)
    labels.take(ana.answers, asked=[7, 8, 3])
    assert labels.pool.labeled.tolist() == [7, 3, 50, 40] and told(labels) == {7: 0, 3: 1, 50: 2, 40: 2}
    assert labels.labels_bought == 4


def test_answers_that_are_no_class(labels, ana, data):
    for index, kind in enumerate(("none", "unsure", "unreadable", "skip")):
        ana.answers.record({"kind": kind, "index": index, "id": data.ids[index], "annotator": "ana"})
    labels.take(ana.answers)
    assert told(labels) == {0: -2} and labels.labels_bought == 2
    assert not {0, 1, 2} & set(labels.pool.unlabeled.tolist()) and 3 in labels.pool.unlabeled.tolist()
    ana.label(1, "left")
    undone = {"kind": "undo", "undoes": 1, "index": 0, "id": data.ids[0], "annotator": "ana"}
    ana.answers.record(undone)
    labels.take(ana.answers)
    assert told(labels) == {1: 1} and 0 in labels.pool.unlabeled.tolist()
    assert labels.labels_bought == 2, "what was paid stays paid"


def test_labels_of_held_out_points_never_train(labels, ana):
    labels.hold_out(test=[5, 4], validation=[6])
    for index in (4, 5, 6, 7):
        ana.label(index, "top")
    labels.take(ana.answers)
    assert told(labels) == {7: 2} and labels.labels_bought == 4
    assert labels.test[0].tolist() == [5, 4] and labels.validation[0].tolist() == [6]
    labels.correct(5, 1)
    assert labels.test[1].tolist() == [1, 2]
    for wrong in ([7], [5]):
        with pytest.raises(DalError, match=r"^indices: expected points"):
            labels.hold_out(validation=wrong)


def test_a_correction_starts_a_round_after_a_fit(labels):
    labels.tell([1, 2], [0, 0])
    labels._fitted_round = 0
    labels.correct(1, 2)
    assert (labels.round, told(labels)) == (1, {1: 2, 2: 0})
    assert labels.pool.rounds(torch.tensor([1, 2])).tolist() == [0, 0]


def test_a_class_that_the_model_lacks_counts_as_none_of_its_classes(labels, ana):
    ana.change("add_class", "dark")
    ana.label(4, "dark")
    labels.take(ana.answers)
    assert told(labels) == {4: -2}
