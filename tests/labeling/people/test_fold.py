"""The fold of answers is a pure function of the events, and equals a slow one in obvious loops."""

import pytest
from helpers.answer_streams import of_fold, state, streams
from hypothesis import given, settings
from hypothesis import strategies as st

from dal.labeling.people.bulk import apply_lines, apply_one_by_one
from dal.labeling.people.events import Answer, ClassChange, event_line
from dal.labeling.people.fold import Fold

CLASSES = ["cat", "dog"]


def said(seq, person="ana", label="cat", index=0, kind="label", undoes=None):
    return Answer(seq, f"e{seq}", kind, index, f"{index}.jpg", label, person, undoes=undoes)


def undo(seq, target, person="ana", index=0):
    return said(seq, person, None, index, "undo", target)


@settings(max_examples=80, deadline=None)
@given(streams(), st.data())
def test_every_way_to_read_gives_the_slow_reference(events, data):
    expected = state(CLASSES, events)
    assert of_fold(Fold.of(CLASSES, events)) == expected
    lines = [event_line(event).encode() for event in events]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(lines)), max_size=3)))
    for many in (1, 10**9):  # NumPy for all rows at once, and a loop
        fold = Fold(CLASSES)
        for start, stop in zip([0, *cuts], [*cuts, len(lines)], strict=True):
            apply_lines(fold, b"".join(lines[start:stop]))
            if data.draw(st.booleans()):
                fold.settle(many)
        fold.settle(many)
        assert of_fold(fold) == expected
        assert fold.events == {event.event: event.seq for event in events}
    fold = Fold(CLASSES)
    apply_one_by_one(fold, b"".join(lines))
    assert of_fold(fold) == expected


@settings(max_examples=30, deadline=None)
@given(streams(), st.data())
def test_an_undo_of_an_undo_restores_the_state(events, data):
    fold = Fold.of(CLASSES, events)
    answers = [e for e in events if isinstance(e, Answer) and not fold.is_taken_back(e.seq)]
    if not answers:
        return
    before, target = of_fold(fold), data.draw(st.sampled_from(answers))
    for times in range(1, 5):
        undoes = target.seq if times == 1 else fold.seq
        fold.apply(undo(fold.seq + 1, undoes, target.annotator, target.index))
        assert (of_fold(fold) == before) == (times % 2 == 0)


def test_undo_has_no_end_and_no_recursion():
    events = [said(1)]
    events += [undo(seq, seq - 1) for seq in range(2, 5002)]
    fold = Fold.of(CLASSES, events)
    assert fold.decision(0).label == 0 and fold.bought == 1
    fold.apply(undo(5002, 5001))
    assert fold.decision(0).status == "open" and fold.bought == 0


def test_a_person_can_go_back_through_all_answers():
    fold = Fold.of(CLASSES, [said(1), said(2, label="dog"), said(3, label="cat")])
    assert (fold.decision(0).label, fold.corrected) == (0, 2)
    fold.apply(undo(4, 3))
    assert (fold.decision(0).label, fold.corrected) == (1, 1)
    fold.apply(undo(5, 2))
    assert (fold.decision(0).label, fold.corrected, fold.bought) == (0, 0, 1)
    fold.apply(undo(6, 1))
    assert (fold.decision(0).status, fold.corrected, fold.bought) == ("open", 0, 0)


def test_an_undo_of_what_is_taken_back_changes_nothing():
    fold = Fold.of(CLASSES, [said(1), undo(2, 1), undo(3, 1)])
    assert fold.decision(0).status == "open"
    fold.apply(undo(4, 3))  # the undo that changed nothing
    assert fold.decision(0).status == "open"
    fold.apply(undo(5, 2))
    assert fold.decision(0).label == 0


def test_the_majority_decides_and_of_equals_the_earliest():
    fold = Fold.of(CLASSES, [said(1, "ana", "dog"), said(2, "bo", "cat")])
    assert (fold.decision(0).label, fold.decision(0).agreement) == (1, 0.5)
    fold.apply(said(3, "cy", "cat"))
    assert fold.decision(0).label == 0 and fold.decision(0).agreement == pytest.approx(2 / 3)
    fold.apply(said(4, "bo", None, kind="none"))
    fold.apply(said(5, "cy", None, kind="none"))
    assert (fold.decision(0).status, fold.decision(0).label) == ("none", None)


def test_the_four_answers_that_are_no_class_differ():
    for kind, status in [("none", "none"), ("unsure", "unsure"), ("skip", "open"), ("unreadable", "unreadable")]:
        fold = Fold.of(CLASSES, [said(1, label=None, kind=kind)])
        assert fold.decision(0).status == status
        assert fold.bought == (kind in ("none", "unsure"))
        assert fold.skipped_by(0) == ({"ana"} if kind == "skip" else set())
        assert fold.settled_by(0) == (set() if kind == "skip" else {"ana"})


def test_late_labels_with_former_names_are_taken():
    fold = Fold(["cat", "dog", "bird", "fish"])
    fold.apply(ClassChange(1, "a", "rename_class", "dog", "hound"))
    fold.apply(ClassChange(2, "b", "rename_class", "hound", "wolf"))
    fold.apply(ClassChange(3, "c", "merge_class", "bird", "cat"))
    fold.apply(ClassChange(4, "d", "retire_class", "fish"))
    for seq, (name, number) in enumerate([("dog", 1), ("hound", 1), ("wolf", 1), ("bird", 0), ("fish", 3)], 5):
        fold.apply(said(seq, label=name, index=seq))
        assert fold.decision(seq).label == number
    with pytest.raises(ValueError, match="expected one of cat, wolf, got 'horse'"):
        fold.apply(said(fold.seq + 1, label="horse"))


def test_a_merge_makes_two_answers_agree():
    fold = Fold.of(["cat", "kitten", "dog"], [said(1, "ana", "cat"), said(2, "bo", "kitten")])
    assert fold.decision(0).agreement == 0.5
    fold.apply(ClassChange(3, "m", "merge_class", "kitten", "cat"))
    assert (fold.decision(0).label, fold.decision(0).agreement) == (0, 1.0)


def test_names_of_numbers_stay_different():
    fold = Fold(["cat", "kitten", "dog"])
    fold.apply(ClassChange(1, "a", "merge_class", "kitten", "cat"))
    fold.apply(ClassChange(2, "b", "add_class", "kitten"))
    assert fold.classes.names == ["cat", "kitten (1)", "dog", "kitten"]
    fold.apply(ClassChange(3, "c", "retire_class", "dog"))
    fold.apply(ClassChange(4, "d", "rename_class", "cat", "dog"))  # the retired class has that name: refused
    assert fold.classes.offered == ["cat", "kitten"]
    fold.apply(ClassChange(5, "e", "add_class", "dog"))
    assert fold.classes.number("dog") == 2 and len(fold.classes.names) == 4


@pytest.mark.parametrize(
    "line",
    [
        "\n",
        "{}\n",
        event_line(said(3)),
        event_line(said(2, label="horse")),
        event_line(said(2)).replace('"label":"cat"', '"label":null'),
        event_line(said(2, kind="none", label=None)).replace('"label":null', '"label":"cat"'),
        event_line(undo(2, 1)).replace('"undoes":1', '"undoes":2'),
        event_line(undo(2, 1)).replace('"undoes":1', '"undoes":null'),
        event_line(said(2)).replace('"undoes":null', '"undoes":1'),
        event_line(said(2)).replace('"suggestion":null', '"suggestion":"=none"'),
        event_line(said(2)).replace('"seq":2', '"seq":02'),
        event_line(said(2)).replace('"index":0,"id":"0.jpg"', '"id":"0.jpg","index":0'),
        event_line(said(2)).replace('"seconds":null', '"seconds":-1'),
        event_line(said(2)).replace('"0.jpg"', '"0\t.jpg"'),
        event_line(said(2)).replace('"source"', '"more":1,"source"'),
        event_line(said(2)).replace('"page"', '"moon"'),
        event_line(said(2)).replace("}", ""),
    ],
)
def test_a_damaged_line_is_refused_by_both_readers(line):
    for read in (apply_lines, apply_one_by_one):
        fold = Fold(CLASSES)
        with pytest.raises(ValueError, match=r"."):
            read(fold, event_line(said(1)).encode() + line.encode())


def test_unusual_lines_of_other_programs_are_read():
    usual = event_line(said(1))
    lines = [usual.replace('"seconds":null', '"seconds":1e-1'), usual.replace('"0.jpg"', '"\\u00C9.jpg"')]
    lines += [usual.replace('"0.jpg"', '"é.jpg"'), usual.replace(",", ", ")]
    for line in lines:
        fold = Fold(CLASSES)
        apply_lines(fold, line.encode())
        fold.settle()
        assert fold.decision(0).label == 0
