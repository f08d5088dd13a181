"""What still needs an answer, and how old a ranking is."""

from dal.labeling.people.events import Answer
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


def test_answers_that_are_replaced_or_taken_back_are_not_paid():
    fold = fold_of(
        ("a", "label", 1, "cat"), ("a", "none", 1), ("b", "unsure", 1), ("a", "skip", 2), ("a", "unreadable", 3),
        ("a", "undo", 3, None, None, 5),
    )  # fmt: skip
    assert (fold.corrected, fold.bought) == (1, 2)
