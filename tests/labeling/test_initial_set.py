import pytest
import torch

from dal.errors import DalError
from dal.labeling.initial_set import initial_set


def draw(policy, candidates, data, size, seed=0):
    return initial_set(policy, candidates, data, size, torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def data(shared):
    """60 points of class 0, 30 of class 1, 8 of class 2, 2 unknown, mixed up."""
    labels = torch.tensor([0] * 60 + [1] * 30 + [2] * 8 + [-1] * 2)
    return shared.make_images(100, labels=labels[torch.randperm(100, generator=torch.Generator().manual_seed(0))])


@pytest.mark.parametrize("policy", ["random", "balanced"])
@pytest.mark.parametrize("size", [1, 20, 49])
def test_distinct_candidates_and_nothing_else(data, policy, size):
    candidates = torch.arange(1, 100, 2)
    if policy == "balanced":
        candidates = candidates[data.labels[candidates] >= 0]
        size = min(size, len(candidates))
    chosen = draw(policy, candidates, data, size)
    assert chosen.dtype == torch.int64
    assert len(set(chosen.tolist())) == len(chosen) == size
    assert set(chosen.tolist()) <= set(candidates.tolist())


@pytest.mark.parametrize("policy", ["random", "balanced"])
def test_the_generator_decides(data, policy):
    draws = [draw(policy, torch.arange(100), data, 20, seed).tolist() for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


def test_random_is_uniform_over_all_candidates_and_needs_no_labels(shared):
    hidden = shared.make_images(10, labels=torch.full((10,), -1))
    counts = torch.zeros(10)
    for seed in range(400):
        counts[draw("random", torch.arange(10), hidden, 5, seed)] += 1
    assert ((counts - 200).abs() < 50).all()


@pytest.mark.parametrize(
    ("size", "counts"),
    [(3, [1, 1, 1]), (21, [7, 7, 7]), (24, [8, 8, 8]), (30, [11, 11, 8]), (98, [60, 30, 8])],
)
def test_balanced_takes_turns_until_a_class_has_given_what_it_has(data, size, counts):
    chosen = draw("balanced", torch.arange(100), data, size)
    assert data.labels[chosen].bincount(minlength=3).tolist() == counts


def test_balanced_is_drawn_at_random_within_a_class(data):
    drawn = {tuple(sorted(draw("balanced", torch.arange(100), data, 3, seed).tolist())) for seed in range(30)}
    assert len(drawn) > 20


def test_balanced_needs_known_labels(data):
    with pytest.raises(DalError) as error:
        draw("balanced", torch.arange(100), data, 99)
    assert str(error.value) == (
        "initial: expected random, or 99 points with known labels to balance, got balanced with 98."
    )


def test_unknown_policy(data):
    with pytest.raises(DalError, match=r"^initial: expected one of balanced, random, got 'rnd'"):
        draw("rnd", torch.arange(100), data, 9)


@pytest.mark.parametrize("policy", ["typiclust", "kmeans"])
def test_policies_that_need_features_are_chosen_elsewhere(data, policy):
    with pytest.raises(DalError, match=f"initial: expected one of balanced, random, got '{policy}'"):
        draw(policy, torch.arange(100), data, 3)
