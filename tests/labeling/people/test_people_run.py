"""The run folder as people use it."""

import pytest

from dal.errors import DalError
from dal.labeling.people.answers import Answers
from dal.labeling.people.people_run import PeopleRun
from dal.labeling.people.prefixes import prefix_sha256
from dal.labeling.people.start import write_start
from dal.runs.files.state import write_state
from dal.runs.layout import ANSWERS

CONFIG = {"data": {"name": "unlabeled_folder", "classes": ["cat", "dog"]}, "oracle": {"kind": "people"}}


@pytest.mark.parametrize("seen", [{"answers_seq": 3}, {"answers_seq": 1, "asks": [[0, 0, 0], [4, 3, 1]]}])
def test_a_journal_that_lost_whole_lines_takes_no_more_answers(tmp_path, seen):
    write_start(tmp_path, [], CONFIG, images=None)
    answers = Answers(tmp_path, ["cat", "dog"])
    for index in range(3):
        answers.record({"kind": "label", "index": index, "id": f"{index}.jpg", "label": "cat"})
    state = {"stage": "select", "rounds": 0, "bytes": {}, "data": "x", "digests": {}, "asks": []}
    write_state(tmp_path, state | seen)
    assert PeopleRun(tmp_path).answers.fold.seq == 3
    lines = (tmp_path / ANSWERS).read_bytes().splitlines(keepends=True)
    (tmp_path / ANSWERS).write_bytes(b"".join(lines[:2]))
    with pytest.raises(DalError, match=r"^answers: expected at least 3 events in answers\.jsonl of .*, got 2\."):
        _ = PeopleRun(tmp_path).answers


def test_a_journal_whose_lines_changed_is_refused_unless_nobody_digested_them(tmp_path):
    write_start(tmp_path, [], CONFIG, images=None)
    answers = Answers(tmp_path, ["cat", "dog"])
    for index in range(3):
        answers.record({"kind": "label", "index": index, "id": f"{index}.jpg", "label": "cat"})
    state = {"stage": "select", "rounds": 0, "bytes": {}, "data": "x", "digests": {}, "asks": [[0, 2, 0]]}
    write_state(tmp_path, state | {"answers_sha256": prefix_sha256(tmp_path, 2)})
    journal = tmp_path / ANSWERS
    text = journal.read_text()
    for line, refused in ((2, False), (1, True), (0, True)):
        lines = text.splitlines(keepends=True)
        lines[line] = lines[line].replace('"cat"', '"dog"')
        journal.write_text("".join(lines))
        if refused:
            with pytest.raises(DalError, match=r"^answers: the first 2 lines of answers\.jsonl in .* that round 0 saw"):
                _ = PeopleRun(tmp_path).answers
        else:
            assert PeopleRun(tmp_path).answers.fold.seq == 3
    write_state(tmp_path, state)
    assert PeopleRun(tmp_path).answers.fold.seq == 3, "a folder of an older version"
