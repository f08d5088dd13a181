"""A file of answers is recorded whole or not at all, and a second time it changes nothing."""

import pytest

from dal.errors import DalError
from dal.labeling.people.answers import Answers
from dal.labeling.people.telling import tell_file
from dal.runs.asked import AskedLine

CLASSES = ["cat", "dog", "=^.^="][:2]
INDICES = {"a.jpg": 0, "b.jpg": 1, "c.jpg": 2, "=1+1.jpg": 3}
ASKED = [AskedLine(0, 0, 0, 2, "c.jpg", None, "initial"), AskedLine(1, 0, 1, 0, "a.jpg", None, "initial")]


@pytest.fixture
def tell(tmp_path):
    answers = Answers(tmp_path, CLASSES)

    def tell(text, name="told.csv", **options):
        path = tmp_path / name
        path.write_text(text)
        return tell_file(answers, INDICES, ASKED, path, **options)

    tell.answers = answers
    return tell


def labels(answers):
    fold = answers.read()
    return {index: fold.decision(index).label for index in range(4) if fold.decision(index).status == "label"}


def test_answers_become_events_with_the_line_that_asked(tell):
    result = tell("id,label,annotator,seconds\na.jpg,dog,ana,2.5\nb.jpg,=none,,\nc.jpg,,,\n")
    assert (result.new, result.repeated, result.superseded, result.unanswered) == (2, 0, 0, 1)
    first, second = tell.answers.events()
    assert (first.kind, first.index, first.label, first.annotator, first.seconds, first.ask, first.source) == (
        "label", 0, "dog", "ana", 2.5, 1, "file",
    )  # fmt: skip
    assert (second.kind, second.annotator, second.ask) == ("none", "me", None), "a volunteer answer"


def test_a_file_that_is_told_twice_changes_nothing(tell):
    text = "id,label\na.jpg,dog\nb.jpg,cat\n"
    tell(text)
    before = (tell.answers.path / "answers.jsonl").read_bytes()
    result = tell(text)
    assert (result.new, result.repeated) == (0, 2) and (tell.answers.path / "answers.jsonl").read_bytes() == before


def test_an_old_file_that_is_told_again_does_not_undo_a_correction(tell):
    tell("id,label\na.jpg,dog\n", "first.csv")
    assert tell("id,label\na.jpg,cat\n", "second.csv").superseded == 1
    assert tell("id,label\na.jpg,dog\n", "first.csv").repeated == 1
    assert labels(tell.answers) == {0: 0}


def test_a_file_that_grew_adds_only_the_new_rows(tell):
    tell("id,label\na.jpg,dog\n")
    result = tell("id,label\na.jpg,dog\nb.jpg,cat\n")
    assert (result.new, result.repeated) == (1, 1) and labels(tell.answers) == {0: 1, 1: 0}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "id,label\na.jpg,cat\nb.jpg,dgo\n",
            r"^label: expected one of cat, dog \(or =none, =unsure, =skip, =unreadable\), got 'dgo' in line 3 "
            r"\(did you mean dog\?\)\.$",
        ),
        ("id,label\na.jpg,cat\nx.jpg,dog\n", r"^id: expected an image of the run, got 'x\.jpg' in line 3"),
        (
            "id,label\na.jpg,cat\nb.jpg,cat\na.jpg,dog\n",
            r"^id: expected each image once for each annotator, got 'a\.jpg' in lines 2 and 4\.$",
        ),
        ("id,label,index\na.jpg,cat,2\n", r"^index: expected 0, the index of 'a\.jpg', got 2 in line 2"),
        ("id,label\nx.jpg,cat\ny.jpg,cat\nz.jpg,cat\n", r"2 more lines are refused \(3, 4\)\. Nothing is recorded\.$"),
    ],
)
def test_a_file_with_a_wrong_row_records_nothing(tell, text, sentence):
    with pytest.raises(DalError, match=sentence):
        tell(text)
    assert list(tell.answers.events()) == []


def test_two_people_can_answer_for_the_same_image_in_one_file(tell):
    assert tell("id,label,annotator\na.jpg,cat,ana\na.jpg,dog,bo\n").new == 2


def test_two_people_can_send_equal_files(tell):
    text = "id,label\na.jpg,dog\n"
    assert [tell(text, annotator=name).new for name in ("ana", "bo", "ana", "bo")] == [1, 1, 0, 0]
    assert [one.annotator for one in tell.answers.read().said(0)] == ["ana", "bo"]


def test_a_dry_run_records_nothing(tell):
    assert tell("id,label\na.jpg,cat\n", dry_run=True).new == 1
    assert list(tell.answers.events()) == []


def test_an_id_that_a_spreadsheet_protected_is_found(tell):
    assert tell("id,label\n'=1+1.jpg,cat\n").new == 1
    assert labels(tell.answers) == {3: 0}
