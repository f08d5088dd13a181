"""Leases: nobody labels what another person has in hand, and no answer is refused."""

import random

import pytest
from helpers.answer_streams import PEOPLE
from hypothesis import given, settings
from hypothesis import strategies as st

from dal.labeling.people.events import Answer
from dal.labeling.people.fold import Fold
from dal.labeling.people.leases import Leases
from dal.labeling.people.wanted import wanted
from dal.runs.asked import AskedLine

CLASSES = ["cat", "dog"]
STEPS = st.tuples(st.sampled_from(PEOPLE), st.integers(0, 5), st.integers(0, 3))


def lines(count):
    return [AskedLine(k, 0, k, 100 + k, f"{k}.jpg", 1.0 / (k + 1)) for k in range(count)]


def answer(fold, person, index, kind="label", undoes=None):
    label = "cat" if kind == "label" else None
    fold.apply(Answer(fold.seq + 1, f"e{fold.seq}", kind, index, f"{index}.jpg", label, person, undoes=undoes))


def take(leases, person, count, asked, fold, now=0.0):
    return [line.index for line in leases.take(person, count, wanted(asked, fold, leases.overlap), fold, now)]


@pytest.mark.parametrize("overlap", [1, 2])
def test_ten_people_give_each_point_the_answers_that_it_needs(overlap):
    asked, fold, leases, chance = lines(2000 // overlap), Fold(CLASSES), Leases(60, overlap), random.Random(overlap)
    hands = {f"person{k}": [] for k in range(10)}
    now, left = 0.0, dict.fromkeys(hands, 200)
    while any(left.values()):
        person = chance.choice([name for name, count in left.items() if count])
        now += 0.01
        if not hands[person]:
            # The part of the list that can be free, so that the test stays fast.
            missing = wanted(asked[: (2000 - sum(left.values())) // overlap + 200], fold, overlap)
            hands[person] = [line.index for line in leases.take(person, 8, missing, fold, now)]
            if not hands[person]:
                # What is left is in the hands of others.
                assert sum(left.values()) < 200
                left[person] = 0
                continue
        answer(fold, person, index := hands[person].pop(0))
        leases.release(person, index)
        left[person] -= 1
    given = [len(fold.said(index)) for index in fold.points()]
    assert max(given) == overlap and fold.corrected == 0
    assert sum(given) == fold.seq >= 1800


def test_a_reload_gives_the_same_points_again():
    asked, fold, leases = lines(5), Fold(CLASSES), Leases(60)
    assert take(leases, "ana", 2, asked, fold) == [100, 101]
    assert take(leases, "bo", 2, asked, fold) == [102, 103]
    assert take(leases, "ana", 3, asked, fold, 1.0) == [100, 101, 104]
    assert take(leases, "bo", 9, asked, fold, 1.0) == [102, 103]
    assert leases.holds("ana", 1.0) == [100, 101, 104]


def test_a_lease_ends_and_late_answers_stay_as_second_opinions():
    asked, fold, leases = lines(1), Fold(CLASSES), Leases(60)
    assert take(leases, "ana", 1, asked, fold, 0.0) == [100]
    assert take(leases, "bo", 1, asked, fold, 59.9) == []
    assert take(leases, "bo", 1, asked, fold, 60.0) == [100]
    answer(fold, "bo", 100)
    answer(fold, "ana", 100)
    assert [one.annotator for one in fold.said(100)] == ["bo", "ana"] and fold.bought == 2


def test_with_overlap_a_person_answers_once():
    asked, fold, leases = lines(1), Fold(CLASSES), Leases(60, overlap=2)
    assert take(leases, "ana", 1, asked, fold) == [100]
    answer(fold, "ana", 100)
    leases.release("ana", 100)
    assert take(leases, "ana", 1, asked, fold) == []
    assert take(leases, "bo", 1, asked, fold) == [100]
    assert take(leases, "cy", 1, asked, fold) == []
    answer(fold, "bo", 100)
    assert wanted(asked, fold, 2) == []


def test_a_skipped_point_comes_last_for_that_person_and_first_for_others():
    asked, fold, leases = lines(3), Fold(CLASSES), Leases(60)
    assert take(leases, "ana", 1, asked, fold) == [100]
    answer(fold, "ana", 100, "skip")
    leases.release("ana", 100)
    assert take(leases, "ana", 1, asked, fold) == [101]
    answer(fold, "ana", 101, "skip")
    leases.release("ana", 101)
    assert take(leases, "ana", 9, asked, fold) == [102, 100, 101]
    leases.release("ana")
    assert take(leases, "bo", 1, asked, fold) == [100]


def test_an_undo_makes_a_point_wanted_again():
    asked, fold, leases = lines(2), Fold(CLASSES), Leases(60)
    take(leases, "ana", 1, asked, fold)
    answer(fold, "ana", 100)
    leases.release("ana", 100)
    assert take(leases, "ana", 1, asked, fold) == [101]
    answer(fold, "ana", 100, "undo", undoes=1)
    assert take(leases, "ana", 2, asked, fold) == [101, 100]


def test_a_restart_restores_leases():
    asked, fold, leases = lines(4), Fold(CLASSES), Leases(60)
    take(leases, "ana", 2, asked, fold, 1000.0)
    take(leases, "bo", 1, asked, fold, 1001.0)
    text = leases.lines()
    leases.release("bo")
    text += leases.lines()
    assert leases.lines() == ""
    for torn in ("", '[102,"a', "[]\n", "7\n", '[1,"a b",3]\n', '[1,"ana",1e999]\n', "[" * 9999):
        again = Leases(60)
        again.restore(text + torn, 1010.0)
        assert again.holds("ana", 1010.0) == [100, 101] and again.holds("bo", 1010.0) == []
        assert take(again, "bo", 1, asked, fold, 1010.0) == [102]
    late = Leases(60)
    late.restore(text, 1061.0)
    assert take(late, "bo", 2, asked, fold, 1061.0) == [100, 101]
    back = Leases(60)
    back.restore(text, 500.0)  # the clock was set back
    assert back.holds("ana", 559.0) == [100, 101] and back.holds("ana", 561.0) == []


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(PEOPLE), st.integers(0, 5), st.integers(0, 3)), max_size=30), st.integers(1, 2)
)
def test_a_restart_at_any_moment_changes_nothing(steps, overlap):
    asked, fold, one, other, text = lines(6), Fold(CLASSES), Leases(10, overlap), Leases(10, overlap), ""
    for now, (person, what, count) in enumerate(steps):
        if what == 5 and one.holds(person, now):
            answer(fold, person, index := one.holds(person, now)[0], "skip" if count == 3 else "label")
            one.release(person, index)
        elif what == 4:
            one.release(person)
        else:
            found = take(one, person, count, asked, fold, now)
            assert found == take(other, person, count, asked, fold, now)
        for index in range(100, 106):
            holders = {name for name in PEOPLE if index in one.holds(name, now)} | fold.settled_by(index)
            assert len(holders) <= overlap
        text += one.lines()
        other = Leases(10, overlap)
        other.restore(text, now)
