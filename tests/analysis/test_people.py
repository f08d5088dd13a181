import math

import pytest
from helpers.people_runs import label, write_people_run

from dal.analysis import read_run
from dal.analysis.people import agreement, answers_of, class_lines, people_lines
from dal.costs.prices import PricesConfig
from dal.errors import DalError


@pytest.fixture
def fold_of(tmp_path):
    def make(*answers):
        return answers_of(read_run(write_people_run(tmp_path / "run", [0.5], answers)))

    return make


def test_each_person_has_a_line(fold_of):
    fold = fold_of(
        label("cat", seconds=1.0),
        label("dog", seconds=3.0),
        label("dog", seconds=10.0),
        {"kind": "unsure", "annotator": "ben", "seconds": 4.0},
        {"kind": "skip", "annotator": "ben"},
        {"kind": "none", "annotator": "ben"},
        {"kind": "unreadable", "annotator": "dal", "source": "dal"},
    )
    ana, ben = people_lines(fold, PricesConfig(label=1, label_hour=3600))
    assert (ana.name, ana.kinds["label"], ana.median, ana.seconds) == ("ana", 3, 3.0, 14.0)
    assert ana.money == pytest.approx(3 + 14)
    assert ben.kinds == {"label": 0, "none": 1, "unsure": 1, "skip": 1, "unreadable": 0}
    assert ben.money == pytest.approx(2 + 4)
    assert math.isnan(people_lines(fold)[0].money)


def test_a_correction_is_one_answer_but_takes_its_time(fold_of):
    fold = fold_of(
        label("cat", seconds=1.0, index=5),
        label("dog", seconds=2.0, index=5),
        label("dog", index=6, seconds=4.0),
        {"kind": "undo", "undoes": 3, "annotator": "ana", "index": 6},
    )
    (ana,) = people_lines(fold, PricesConfig(label_hour=3600))
    assert ana.kinds["label"] == 1
    assert ana.seconds == ana.money == 7.0


def test_answers_from_a_file_have_no_time(fold_of):
    (ana,) = people_lines(fold_of(label("cat")), PricesConfig(label_hour=10))
    assert math.isnan(ana.median) and math.isnan(ana.seconds)
    assert ana.money == 0


def test_each_class_has_its_labels_and_its_time_under_its_present_name(fold_of):
    fold = fold_of(
        label("cat", seconds=2.0),
        {"kind": "add_class", "name": "puppy", "annotator": "ana"},
        label("puppy", seconds=4.0),
        label("dog", seconds=8.0),
        {"kind": "merge_class", "name": "puppy", "to": "dog", "annotator": "ana"},
        {"kind": "rename_class", "name": "cat", "to": "kitten", "annotator": "ana"},
        {"kind": "add_class", "name": "bird", "annotator": "ana"},
    )
    found = [(one.name, one.labels, one.median) for one in class_lines(fold)]
    assert found[:2] == [("kitten", 1, 2.0), ("dog", 2, 6.0)]
    assert found[2][:2] == ("bird", 0) and math.isnan(found[2][2])


def test_agreement_is_that_of_points_with_two_opinions(fold_of):
    assert agreement(fold_of(label("cat", index=0))) is None


def test_agreement_by_hand(fold_of):
    fold = fold_of(
        *(label(name, person, index=0) for name, person in (("cat", "ana"), ("cat", "ben"), ("dog", "eve"))),
        *(label("cat", person, index=1) for person in ("ana", "ben")),
        label("dog", index=2),
    )
    assert agreement(fold) == (2, pytest.approx((2 / 3 + 1) / 2))


def test_a_run_without_answers_has_none(tmp_path):
    assert answers_of(read_run(write_people_run(tmp_path / "run", [0.5]))) is None


def test_the_classes_of_the_configuration_come_first(tmp_path):
    path = write_people_run(tmp_path / "run", [0.5], [label("cat")], data__classes=["cat", "dog"])
    (path / "data.json").write_text("{}")
    assert answers_of(read_run(path)).classes.names == ["cat", "dog"]


@pytest.mark.parametrize("text", ["{}", '{"classes": 3}', "[", '{"classes": [1]}'])
def test_damaged_facts_are_one_sentence(tmp_path, text):
    path = write_people_run(tmp_path / "run", [0.5], [label("cat")])
    (path / "data.json").write_text(text)
    with pytest.raises(DalError, match=r"data\.json"):
        answers_of(read_run(path))
