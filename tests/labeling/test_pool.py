import pytest
import torch

from dal.errors import DalError
from dal.labeling.pool import Pool


@pytest.fixture
def pool():
    pool = Pool(size=10, num_classes=3, excluded=[9])
    pool.label([7, 2], [0, 2], round=0)
    return pool


def state(pool):
    everything = torch.arange(pool.size)
    return (
        pool.labeled.tolist(),
        pool.unlabeled.tolist(),
        pool.labels(everything).tolist(),
        pool.rounds(everything).tolist(),
        (pool.num_labeled, pool.num_unlabeled),
    )


def test_labels_rounds_and_order_are_kept(pool):
    pool.label(torch.tensor([0, 8]), torch.tensor([1, 1]), round=3)
    assert state(pool) == (
        [7, 2, 0, 8],
        [1, 3, 4, 5, 6],
        [1, -1, 2, -1, -1, -1, -1, 0, 1, -1],
        [3, -1, 0, -1, -1, -1, -1, 0, 3, -1],
        (4, 5),
    )
    assert pool.labeled.dtype == pool.unlabeled.dtype == torch.int64


def test_an_empty_pool_keeps_its_types():
    pool = Pool(2, 2)
    assert pool.labeled.dtype == torch.int64
    pool.label([], [], round=0)
    pool.label([1, 0], [0, 0], round=0)
    assert pool.unlabeled.tolist() == []
    assert pool.num_unlabeled == 0


@pytest.mark.parametrize(
    ("indices", "labels", "message"),
    [
        ([0, 10], [0, 0], "indices: expected positions from 0 to 9, got 10."),
        ([0, -1], [0, 0], "indices: expected positions from 0 to 9, got -1."),
        ([0, 3, 0], [0, 0, 0], "indices: expected each index once, got 0."),
        ([0, 2], [0, 0], "indices: expected unlabeled points, got 2, labeled in round 0."),
        ([0, 9], [0, 0], "indices: expected points of the pool, got 9, which is excluded."),
        ([0, 1], [0, 3], "labels: expected a class from 0 to 2, or -2 for none of them, got 3 for index 1."),
        ([0, 1], [0, -1], "labels: expected a class from 0 to 2, or -2 for none of them, got -1 for index 1."),
        ([0, 1], [0], "labels: expected one for each of the 2 indices, got 1."),
        ([0], [0, 1], "labels: expected one for each of the 1 indices, got 2."),
        ([0, 1.5], [0, 0], "indices: expected whole numbers, got 1.5."),
        ([0, 1], [0, 1.7], "labels: expected whole numbers, got 1.7."),
        ([0, 1], [0, "1"], "labels: expected whole numbers, got '1'."),
        ([0, 1], [0, None], "labels: expected whole numbers, got None."),
    ],
)
def test_a_wrong_answer_changes_nothing(pool, indices, labels, message):
    before = state(pool)
    with pytest.raises(DalError) as error:
        pool.label(indices, labels, round=1)
    assert str(error.value) == message
    assert state(pool) == before
    pool.label([0], [0], round=1)


@pytest.mark.parametrize("indices", [[3, 10], [3, 3], [3, -1]])
def test_a_wrong_exclusion_changes_nothing(pool, indices):
    before = state(pool)
    with pytest.raises(DalError, match=r"^indices: "):
        pool.exclude(indices)
    assert state(pool) == before


def test_excluding_leaves_labels_alone(pool):
    pool.exclude([2, 3])
    assert pool.labeled.tolist() == [7, 2]
    assert pool.unlabeled.tolist() == [0, 1, 4, 5, 6, 8]


def test_a_pool_of_nothing_is_refused():
    with pytest.raises(DalError, match=r"^size: expected at least one point, got 0\.$"):
        Pool(0, 2)


def test_a_corrected_label_keeps_its_round_and_its_place(pool):
    pool.correct(2, 1)
    assert state(pool)[0] == [7, 2] and pool.labels(pool.labeled).tolist() == [0, 1]
    assert pool.rounds(pool.labeled).tolist() == [0, 0]


def test_a_forgotten_point_is_a_candidate_again(pool):
    pool.forget(7)
    assert pool.labeled.tolist() == [2] and 7 in pool.unlabeled.tolist()
    pool.label([7], [1], round=1)
    assert pool.labeled.tolist() == [2, 7] and pool.rounds(pool.labeled).tolist() == [0, 1]


def test_an_excluded_point_can_be_included_again(pool):
    pool.include(9)
    assert 9 in pool.unlabeled.tolist()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda pool: pool.correct(3, 1), "index: expected a labeled point, got 3"),
        (lambda pool: pool.correct(7, 5), "labels: expected a class from 0 to 2"),
        (lambda pool: pool.forget(9), "index: expected a labeled point, got 9"),
        (lambda pool: pool.include(7), "index: expected a point without a label, got 7"),
        (lambda pool: pool.correct(10, 0), "indices: expected positions from 0 to 9, got 10"),
    ],
)
def test_a_change_that_does_not_fit_changes_nothing(pool, change, sentence):
    before = state(pool)
    with pytest.raises(DalError, match=sentence):
        change(pool)
    assert state(pool) == before
