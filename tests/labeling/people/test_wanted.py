"""What still needs an answer, and counts of the answers."""

from dal.labeling.people.counts import answers_by_kind, last_answers, progress, timings, to_undo, total_seconds
from dal.labeling.people.events import Answer, ClassChange
from dal.labeling.people.fold import Fold
from dal.labeling.people.wanted import behind, needs, wanted
from dal.runs.asked import AskedLine

CLASSES = ["cat", "dog", "bird"]


def asked():
    kinds = [("initial", 0), ("test", 0), ("validation", 0), ("query", 1), ("query", 2), ("query", 2)]
    return [AskedLine(k, round, 0, k, f"{k}.jpg", kind=kind) for k, (kind, round) in enumerate(kinds)]


def fold_of(*answers):
    fold = Fold(CLASSES)
    for seq, (person, kind, index, *more) in enumerate(answers, 1):
        label, seconds, undoes = (*more, None, None, None)[:3]
        fold.apply(Answer(seq, f"e{seq}", kind, index, f"{index}.jpg", label, person, seconds=seconds, undoes=undoes))
    return fold


def test_the_test_set_comes_first_and_only_the_last_query_counts():
    assert [line.index for line in wanted(asked(), fold_of())] == [1, 2, 0, 4, 5]
    twice = [*asked(), AskedLine(6, 2, 2, 1, "1.jpg")]
    assert [line.kind for line in wanted(twice, fold_of())] == ["test", "validation", "initial", "query", "query"]
    assert wanted([], fold_of()) == []


def test_every_answer_but_a_skip_settles_a_point():
    fold = fold_of(("a", "label", 1, "cat"), ("a", "none", 2), ("a", "unsure", 0), ("a", "skip", 4))
    assert [line.index for line in wanted(asked(), fold)] == [4, 5]
    fold = fold_of(("a", "unreadable", 4), ("a", "label", 1, "cat"))
    assert [line.index for line in wanted(asked(), fold, overlap=2)] == [1, 2, 0, 5]
    assert [needs(fold, index, 2) for index in (1, 2, 4)] == [1, 2, 0]


def test_labels_after_a_ranking_are_counted():
    fold = fold_of(("a", "label", 1, "cat"), ("a", "skip", 2), ("a", "none", 3), ("b", "label", 1, "dog"))
    assert [behind(fold, seq) for seq in range(5)] == [3, 2, 2, 1, 0]
    assert behind(fold, 0, upto=3) == 2 and behind(fold, 0, held_out={1}) == 1


def test_seconds_by_person_and_class():
    fold = fold_of(
        ("a", "label", 1, "cat", 2.0), ("a", "label", 2, "cat", 4.0), ("a", "label", 3, "cat", 60.0),
        ("a", "label", 3, "dog"), ("b", "none", 1, None, 1.5), ("a", "undo", 1, None, 9.0, 1),
    )  # fmt: skip
    fold.apply(ClassChange(7, "m", "merge_class", "dog", "cat"))
    found = {(one.annotator, one.kind, one.label): (one.answers, one.seconds, one.total) for one in timings(fold)}
    assert found == {("a", "label", 0): (4, 4.0, 66.0), ("b", "none", None): (1, 1.5, 1.5)}
    assert [one.answers for one in timings(fold, since=4)] == [1]
    assert total_seconds(fold) == 76.5 and total_seconds(fold, since=2, upto=5) == 61.5


def test_counts_leave_out_what_is_replaced_or_taken_back():
    fold = fold_of(
        ("a", "label", 1, "cat"), ("a", "none", 1), ("b", "unsure", 1), ("a", "skip", 2), ("a", "unreadable", 3),
        ("a", "undo", 3, None, None, 5),
    )  # fmt: skip
    assert answers_by_kind(fold) == {"label": 0, "none": 1, "unsure": 1, "skip": 1, "unreadable": 0}
    assert (fold.corrected, fold.bought) == (1, 2)


def test_the_last_answers_of_a_person():
    fold = fold_of(
        ("a", "label", 1, "cat"), ("b", "label", 1, "dog"), ("a", "label", 1, "bird"), ("a", "label", 2, "dog"),
        ("a", "undo", 2, None, None, 4),
    )  # fmt: skip
    found = [(one.seq, one.label, one.is_undone, one.is_present) for one in last_answers(fold, "a", 9)]
    assert found == [(4, 1, True, False), (3, 2, False, True), (1, 0, False, False)]
    assert [one.seq for one in last_answers(fold, "a", 1)] == [4] and last_answers(fold, "nobody", 3) == []
    assert (to_undo(fold, "a"), to_undo(fold, "b"), to_undo(fold, "nobody")) == (3, 2, None)


def test_progress_by_kind():
    fold = fold_of(("a", "label", 1, "cat"), ("a", "label", 4, "cat"))
    expected = {"initial": (0, 1), "test": (1, 1), "validation": (0, 1), "query": (1, 3)}
    assert progress(asked(), fold) == expected
    assert progress(asked(), fold, overlap=2)["test"] == (0, 1)
