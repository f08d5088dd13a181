"""The journal of answers: nothing confirmed is lost, nothing counts twice, and damage is named."""

import copy
import errno
import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest
from helpers import answer_writer
from helpers.answer_streams import of_fold, streams
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dal.errors import DalError
from dal.labeling.people import answers as module
from dal.labeling.people import lines as lines_of_bytes
from dal.labeling.people.answers import Answers
from dal.labeling.people.events import ClassChange, event_line
from dal.labeling.people.fold import Fold
from dal.runs.files import atomic
from dal.runtime.refusals import RefusedBySystem

CLASSES = ["cat", "dog"]


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def draft(index=0, label="cat", annotator="ana", **values):
    return {"kind": "label", "index": index, "id": f"{index}.jpg", "label": label, "annotator": annotator, **values}


def lines(folder):
    path = folder / "answers.jsonl"
    return path.read_bytes().splitlines(keepends=True) if path.exists() else []


def _events(folder):
    answers = Answers(folder, CLASSES)
    answers.refresh()
    return list(answers.events())


def test_an_answer_is_on_the_disk_when_it_is_returned(tmp_path, monkeypatch):
    synced = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (synced.append(os.fstat(descriptor).st_size), real(descriptor)))
    answers = Answers(tmp_path, CLASSES)
    event = answers.record(draft(7, seconds=2.5))
    assert (event.seq, event.label, event.seconds) == (1, "cat", 2.5)
    assert synced[-1] == (tmp_path / "answers.jsonl").stat().st_size == len(event_line(event))
    assert answers.fold.decision(7).label == 0
    assert list(answers.events()) == [event] and event.at.endswith("Z")


def test_a_repeat_changes_nothing(quick, tmp_path):
    answers = Answers(tmp_path, CLASSES)
    first = answers.record(draft(event="same"))
    before = lines(tmp_path)
    assert answers.record(draft(event="same")) == first
    assert Answers(tmp_path, CLASSES).record(draft(3, "dog", event="same")) == first
    assert answers.record_all([draft(event="same"), draft(1, event="new"), draft(1, event="new")]) == [
        (first, False),
        (answers.event(2), True),
        (answers.event(2), False),
    ]
    assert lines(tmp_path)[:1] == before and len(lines(tmp_path)) == 2


def test_all_or_none(quick, tmp_path):
    answers = Answers(tmp_path, CLASSES)
    answers.record(draft())
    before = (lines(tmp_path), of_fold(answers.fold))
    with pytest.raises(DalError, match=r"^label: expected one of bird, cat, dog, got 'dgo' \(did you mean dog\?\)\.$"):
        answers.record_all([draft(1), {"kind": "add_class", "name": "bird"}, draft(2, "bird"), draft(3, "dgo")])
    assert (lines(tmp_path), of_fold(answers.fold)) == before
    found = answers.record_all([draft(1), {"kind": "add_class", "name": "bird"}, draft(2, "bird")])
    assert [event.seq for event, _ in found] == [2, 3, 4] and answers.fold.decision(2).label == 2


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "labl"}, "kind: expected one of label, none, unsure"),
        ({"label": None}, "label: expected the name of a class, .*, got None"),
        ({"label": "=none"}, "label: expected the name of a class, .*, got '=none'"),
        ({"label": "horse"}, "label: expected one of cat, dog, got 'horse'"),
        ({"index": -1}, "index: expected a whole number of at least 0, got -1"),
        ({"index": True}, "index: expected a whole number"),
        ({"id": ""}, "id: expected a text"),
        ({"annotator": "a b"}, "annotator: expected 1 to 64 of the characters"),
        ({"event": ""}, "event: expected 1 to 64 of the characters"),
        ({"seconds": float("nan")}, "seconds: expected null or a number from 0 to 86,400"),
        ({"seconds": "2"}, "seconds: expected null or a number from 0 to 86,400"),
        ({"seconds": 1e300}, "seconds: expected null or a number from 0 to 86,400, got 1e\\+300"),
        ({"seconds": 10**400}, "seconds: expected null or a number from 0 to 86,400"),
        ({"seconds": True}, "seconds: expected null or a number"),
        ({"index": 2.0}, "index: expected a whole number"),
        ({"index": 2**53}, "index: expected a whole number"),
        ({"event": "e" * 65}, "event: expected 1 to 64 of the characters"),
        ({"annotator": "a" * 65}, "annotator: expected 1 to 64 of the characters"),
        ({"annotator": "dal"}, "annotator: expected .*, and not dal, got 'dal'"),
        ({"at": "yesterday"}, "at: expected a time in ISO 8601"),
        ({"ask": 1.5}, "ask: expected null or a whole number"),
        ({"suggestion": ""}, "suggestion: expected null or the name of a class"),
        ({"source": "moon"}, "source: expected one of page, file, library, dal, got 'moon'"),
        ({"seq": 4}, "answer: expected one of .*, got 'seq'"),
        ({"color": "red"}, "answer: expected one of .*, got 'color'"),
        ({"undoes": 1}, "undoes: expected the seq of an earlier answer"),
    ],
)
def test_a_draft_that_is_not_valid_is_one_sentence(quick, tmp_path, values, message):
    answers = Answers(tmp_path, CLASSES)
    answers.record(draft(9))
    with pytest.raises(DalError, match=f"^{message}.*\\.$") as caught:
        answers.record({**draft(), **values})
    assert "\n" not in str(caught.value) and len(lines(tmp_path)) == 1


def test_a_missing_value_is_one_sentence(quick, tmp_path):
    answers = Answers(tmp_path, CLASSES)
    with pytest.raises(DalError, match=r"^index: expected a whole number"):
        answers.record({"kind": "skip", "id": "a.jpg"})
    with pytest.raises(DalError, match=r"^name: expected the name of a class"):
        answers.record({"kind": "add_class"})
    with pytest.raises(DalError, match=r"^kind: expected one of"):
        answers.record({})


def test_an_undo_is_of_an_own_answer(quick, tmp_path):
    answers = Answers(tmp_path, CLASSES)
    answers.record_all([draft(), draft(1, annotator="bo"), {"kind": "add_class", "name": "bird", "annotator": "ana"}])
    undo = {"kind": "undo", "annotator": "ana"}
    for undoes, message in [
        (2, "undoes: expected an answer of ana, got one of bo."),
        (3, "undoes: expected an answer, got event 3, a change of the classes."),
        (4, "undoes: expected the seq of an event from 1 to 3, got 4."),
        (None, "undoes: expected the seq of an event from 1 to 3, got None."),
    ]:
        with pytest.raises(DalError) as caught:
            answers.record({**undo, "undoes": undoes})
        assert str(caught.value) == message
    with pytest.raises(DalError, match=r"^index: expected 0 as in event 1, got 5\.$"):
        answers.record({**undo, "undoes": 1, "index": 5})
    event = answers.record({**undo, "undoes": 1})
    assert (event.index, event.id) == (0, "0.jpg") and answers.fold.decision(0).status == "open"
    answers.record({**undo, "undoes": event.seq})
    assert answers.fold.decision(0).label == 0
    added = answers.record_all([draft(4), {**undo, "undoes": 6}])
    assert [one.seq for one, _ in added] == [6, 7] and answers.fold.decision(4).status == "open"


def test_a_change_of_the_classes_that_is_refused_is_one_sentence(quick, tmp_path):
    answers = Answers(tmp_path, CLASSES)
    for change, message in [
        ({"kind": "add_class", "name": "dog"}, "add_class: expected a name that no class has, got 'dog'."),
        ({"kind": "rename_class", "name": "cow", "to": "ox"}, "rename_class: expected one of cat, dog, got 'cow'."),
        ({"kind": "merge_class", "name": "cat", "to": "dog"}, "merge_class: expected at least two classes to remain"),
        ({"kind": "rename_class", "name": "cat"}, "to: expected another class"),
        ({"kind": "rename_class", "name": "cat", "to": "cat"}, "to: expected another class"),
    ]:
        with pytest.raises(DalError) as caught:
            answers.record(change)
        assert str(caught.value).startswith(message)
    answers.record_all([{"kind": "add_class", "name": "bird"}, {"kind": "rename_class", "name": "dog", "to": "hound"}])
    event = answers.record(draft(label="dog"))  # chosen before the page knew the new name
    assert event.label == "dog" and answers.fold.decision(0).label == 1
    assert Answers(tmp_path, CLASSES).read().decision(0).label == 1


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(streams(30), st.integers(1, 400), st.data())
def test_a_prefix_is_the_fold_of_the_first_events(tmp_path, monkeypatch, events, block, data):
    monkeypatch.setattr(module, "BLOCK", block)
    monkeypatch.setattr(lines_of_bytes, "BLOCK", block)
    (tmp_path / "answers.jsonl").write_text("".join(map(event_line, events)))
    answers = Answers(tmp_path, CLASSES)
    answers.refresh()
    assert of_fold(answers.fold) == of_fold(Fold.of(CLASSES, events))
    upto = data.draw(st.integers(0, len(events)))
    whole = of_fold(Fold.of(CLASSES, events[:upto]))
    assert of_fold(answers.read(upto)) == whole
    steps = [copy.deepcopy(of_fold(fold)) for fold in answers.prefixes([upto // 2, upto, upto])]
    assert steps == [of_fold(Fold.of(CLASSES, events[: upto // 2])), whole, whole], "one reading for many prefixes"
    assert list(answers.events(upto)) == events[upto:]
    assert [answers.event(event.seq) for event in events] == events
    for seq in (0, -1, len(events) + 1):
        with pytest.raises(LookupError):
            answers.event(seq)
    with pytest.raises(DalError, match=f"^answers: expected {len(events) + 1} events in answers.jsonl"):
        answers.read(len(events) + 1)


def test_a_last_line_that_is_not_whole_is_cut_off_and_said_once(quick, tmp_path, recwarn):
    warnings.simplefilter("always")
    Answers(tmp_path, CLASSES).record_all([draft(1), draft(2)])
    whole = b"".join(lines(tmp_path))
    for size in range(1, len(lines(tmp_path)[0]), 9):
        (tmp_path / "answers.jsonl").write_bytes(whole + lines(tmp_path)[0][:size])
        answers = Answers(tmp_path, CLASSES)
        assert answers.refresh().seq == answers.read().seq == 2
        assert not recwarn.list
        answers.record(draft(1, event="known")) if size == 1 else answers.record_all([])
        assert len(recwarn.list) == 1 and "was not whole and is removed" in str(recwarn.pop().message)
        answers.record_all([])
        assert not recwarn.list
        (tmp_path / "answers.jsonl").write_bytes(whole)


@pytest.mark.parametrize(
    "spoil", [lambda line: line[5:], lambda line: b"\0" * 40 + b"\n", lambda line: b"", bytes.upper]
)
def test_damage_in_the_middle_is_named_by_its_line(quick, tmp_path, spoil):
    Answers(tmp_path, CLASSES).record_all([draft(index) for index in range(20)])
    journal = lines(tmp_path)
    journal[11] = spoil(journal[11])
    (tmp_path / "answers.jsonl").write_bytes(b"".join(journal))
    for use in (Answers.refresh, Answers.read, lambda answers: answers.record(draft(3))):
        with pytest.raises(DalError) as caught:
            use(Answers(tmp_path, CLASSES))
        assert str(caught.value) == (
            f"answers: line 12 of answers.jsonl in {str(tmp_path)!r} is damaged. Restore it, or choose another folder."
        )
    assert lines(tmp_path) == [line for line in journal if line]


def test_an_id_that_two_events_have_is_damage(quick, tmp_path):
    Answers(tmp_path, CLASSES).record_all([draft(index, event=f"e{index}") for index in range(5)])
    journal = b"".join(lines(tmp_path)).replace(b'"e3"', b'"e1"')
    (tmp_path / "answers.jsonl").write_bytes(journal)
    with pytest.raises(DalError, match=r"line 4 of answers.jsonl"):
        Answers(tmp_path, CLASSES).record(draft(9))


def test_the_journal_is_a_regular_file_of_the_folder(tmp_path):
    (tmp_path / "other.jsonl").write_text("")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "answers.jsonl").symlink_to(tmp_path / "other.jsonl")
    with pytest.raises(DalError, match="leads out of it"):
        Answers(tmp_path / "run", CLASSES).record(draft())


def test_a_folder_or_journal_that_is_gone_is_one_sentence(quick, tmp_path):
    with pytest.raises(RefusedBySystem, match=r"gone.*cannot be used \(No such file or directory\)"):
        Answers(tmp_path / "gone", CLASSES).record(draft())
    assert not (tmp_path / "gone").exists()
    answers = Answers(tmp_path, CLASSES)
    answers.record(draft())
    (tmp_path / "answers.jsonl").unlink()
    with pytest.raises(DalError, match=r"^answers: expected answers.jsonl in .*, got no such file\. Restore it"):
        answers.record(draft(1))
    assert not lines(tmp_path)


@pytest.mark.parametrize("part", [0, 0.5, 1])
def test_a_full_disk_confirms_nothing_and_leaves_the_journal(tmp_path, monkeypatch, part):
    answers, other = Answers(tmp_path, CLASSES), Answers(tmp_path, CLASSES)
    answers.record(draft(0))
    before = lines(tmp_path)

    def full(path, text, at=None):
        with Path(path).open("ab") as file:
            file.write(text.encode()[: int(part * len(text))])
        other.refresh()  # a reader without the lock sees whole lines that are taken back
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(module, "append_text", full)
        with pytest.raises(RefusedBySystem, match=r"answers.jsonl' cannot be used \(No space left on device\)"):
            answers.record_all([draft(1), draft(2), draft(3)])
    assert lines(tmp_path) == before and answers.fold.seq == 1
    event = answers.record(draft(4, "dog"))
    assert event.seq == 2
    assert other.refresh().seq == 2 and other.fold.decision(4).label == 1 and other.fold.decision(1).status == "open"


def test_a_failed_flush_confirms_nothing(tmp_path, monkeypatch):
    answers = Answers(tmp_path, CLASSES)
    answers.record(draft(0))

    def refuse(descriptor):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(atomic.os, "fsync", refuse)
        with pytest.raises(RefusedBySystem, match="Input/output error"):
            answers.record(draft(1))
    assert answers.fold.seq == 1 and answers.record(draft(2)).seq == 2
    assert [event.index for event in _events(tmp_path)] == [0, 2]


def test_a_confirmed_fold_waits_for_a_write_in_progress(tmp_path, monkeypatch):
    answers, other = Answers(tmp_path, CLASSES), Answers(tmp_path, CLASSES)
    answers.record(draft(0))
    seen = []

    def full(path, text, at=None):
        Path(path).write_text(Path(path).read_text() + text)
        seen.append(other.refresh().seq)
        reader.start()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    reader = threading.Thread(target=lambda: seen.append(Answers(tmp_path, CLASSES).refresh_confirmed().seq))
    monkeypatch.setattr(module, "append_text", full)
    with pytest.raises(RefusedBySystem):
        answers.record(draft(1))
    reader.join()
    assert seen == [2, 1]


def test_threads_of_one_process_share_the_journal(quick, tmp_path):
    answers = Answers(tmp_path, CLASSES)

    def label(name):
        for number in range(25):
            answers.record(draft(number, "dog", name, event=f"{name}-{number}"))

    threads = [threading.Thread(target=label, args=(f"p{k}",)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    events = _events(tmp_path)
    assert [event.seq for event in events] == list(range(1, 101)) and len({event.event for event in events}) == 100
    assert answers.fold.bought == 100


def test_two_objects_that_take_turns_agree(quick, tmp_path):
    one, other = Answers(tmp_path, CLASSES), Answers(tmp_path, CLASSES)
    for number in range(10):
        assert one.record(draft(number)).seq == 2 * number + 1
        assert other.record(draft(number, "dog", "bo")).seq == 2 * number + 2
    assert of_fold(one.refresh()) == of_fold(other.fold) == of_fold(one.read())


def test_processes_that_are_killed_lose_and_repeat_nothing(tmp_path):
    people, count, lives = ["ana", "bo", "cy"], 40, 8
    # Fresh interpreters: they need no PyTorch, so they start faster than those of helpers.processes.
    command = [sys.executable, answer_writer.__file__, str(tmp_path)]
    started = [
        subprocess.Popen([*command, name, str(count), str(lives), str(seed)], stdout=subprocess.PIPE, text=True)
        for seed, name in enumerate(people)
    ]
    kills = [int(process.communicate()[0]) for process in started]
    assert [process.returncode for process in started] == [0, 0, 0] and kills == [lives] * 3
    events = _events(tmp_path)
    assert [event.seq for event in events] == list(range(1, 3 * count + 1))
    expected = {f"{name}-{number}" for name in people for number in range(count)}
    assert {event.event for event in events} == expected
    confirmed = [line for name in people for line in (tmp_path / f"confirmed-{name}").read_text().split()]
    assert set(confirmed) == expected


def test_a_class_change_is_an_event_of_the_same_sequence(quick, tmp_path):
    answers = Answers(tmp_path, CLASSES)
    event = answers.record({"kind": "rename_class", "name": "cat", "to": "lion", "annotator": "ana", "source": "page"})
    assert isinstance(event, ClassChange) and answers.event(1) == event
    assert answers.fold.event(1) == event and answers.fold.answer(1) is None
    assert answers.fold.classes.offered == ["lion", "dog"]
