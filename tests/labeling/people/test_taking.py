"""The labels of a pool follow from the answers, also when only the points that changed are looked at."""

from helpers.answer_streams import streams
from hypothesis import given, settings
from hypothesis import strategies as st

from dal.labeling.held_out import HeldOut
from dal.labeling.people.fold import Fold
from dal.labeling.people.taking import points_between, take
from dal.labeling.pool import Pool

CLASSES = ["cat", "dog"]


class Taken:
    """A pool of five points, of which one is held out, after some steps."""

    def __init__(self):
        self.pool = Pool(5, num_classes=3)
        self.held_out = HeldOut(self.pool)
        self.held_out.hold(test=[3], validation=[])

    def take(self, fold, round, changed=None):
        take(fold, self.pool, self.held_out, round, [2, 0], changed)

    def state(self):
        pool, test = self.pool, self.held_out.test
        facts = pool.labeled, pool.labels(pool.labeled), pool.rounds(pool.labeled), pool.unlabeled, *test
        return [values.tolist() for values in facts], pool.set_aside


@settings(max_examples=60, deadline=None)
@given(streams(20), st.lists(st.integers(0, 20), max_size=4))
def test_changed_points_are_enough_between_the_first_and_the_last_look(events, cuts):
    cuts = [*sorted(min(cut, len(events)) for cut in cuts), len(events)]
    all_points, some_points, before = Taken(), Taken(), 0
    for round, cut in enumerate(cuts):
        fold = Fold.of(CLASSES, events[:cut])
        all_points.take(fold, round)
        is_last = round == len(cuts) - 1
        some_points.take(fold, round, None if is_last else points_between(fold, before))
        before = cut
    assert some_points.state() == all_points.state()


def test_a_change_of_the_classes_affects_all_points():
    fold = Fold(CLASSES)
    assert points_between(fold, 0) == set()
