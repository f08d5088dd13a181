"""Small pools: the largest key by a float64 reference, also with ties, and what a GPU is asked to read back."""

import numpy as np
import pytest
import torch
from helpers.pretended_gpu import pretended_gpu

from dal.acquisition import badge_select, k_center_greedy
from dal.acquisition.search.geometry import Euclidean, near_mean
from dal.acquisition.search.small_pool import SmallPool


def spaces(*parts):
    return [Euclidean(part, 1.0, near_mean(parts[0], 1.0)) for part in parts]


def distance(rows, squares):
    return squares


def picked(x, labeled, count):
    """Pick the farthest point ``count`` times: (picks, keys)."""
    pool, keys = SmallPool(*spaces(x, labeled)), []
    for _ in range(count):
        key, position = pool.largest(None, None, distance)
        keys.append(key)
        pool.take(position)
    return pool, keys


def reference(x, labeled, count):
    x, labeled = (part.double().numpy() for part in (x, labeled))
    nearest, picks, squares = ((x[:, None] - labeled) ** 2).sum(axis=2).min(axis=1), [], []
    for _ in range(count):
        picks.append(int(nearest.argmax()))  # the first of several
        squares.append(nearest[picks[-1]])
        nearest = np.minimum(nearest, ((x - x[picks[-1]]) ** 2).sum(axis=1))
        nearest[picks] = -1
    return picks, squares


@pytest.mark.parametrize("kind", ["whole numbers", "two of each", "normal"])
def test_exact_ties_go_to_the_lowest_position(kind):
    g = torch.Generator().manual_seed(0)
    whole, normal = torch.randint(-1, 2, (80, 4), generator=g).float(), torch.randn(80, 4, generator=g)
    x = whole if kind == "whole numbers" else normal
    if kind == "two of each":
        x = x[torch.randperm(80, generator=g) // 2]
    count = len({tuple(row) for row in x.tolist()}) - 1  # the rest coincides with centers
    expected, squares = reference(x, x[:1], count)
    pool, keys = picked(x, x[:1], count)
    assert pool.picks == expected
    assert torch.allclose(pool.scores(), torch.tensor(squares), rtol=1e-12, atol=0)
    assert all(0 < key <= square * (1 + 1e-12) for key, square in zip(keys, squares, strict=True))


def test_a_pool_of_one_point():
    x = torch.tensor([[3.0, 4.0]])
    pool, (key,) = picked(x, torch.zeros(1, 2), 1)
    assert pool.picks == [0] and key == pytest.approx(25, rel=1e-4) and pool.scores().tolist() == [25]
    at_center = SmallPool(*spaces(x, x))
    assert at_center.largest(None, None, distance) == (0, 0)
    without_centers = SmallPool(*spaces(x))
    assert without_centers.largest(None, None, distance) == (torch.inf, 0)


def test_bounds_that_decide_read_once_from_a_gpu_and_close_bounds_a_few_times(monkeypatch):
    apart = torch.linspace(1, 3, 40)[torch.randperm(40, generator=torch.Generator().manual_seed(2))]
    far = torch.nn.functional.one_hot(torch.arange(40), 40) * apart[:, None]
    equal = torch.eye(40)
    for x, most in ((far, 1), (equal, 12)):
        labeled = torch.zeros(1, 40)
        expected, squares = reference(x, labeled, 20)
        with pretended_gpu(monkeypatch) as gpu:
            pool = SmallPool(*spaces(x.cuda(), labeled.cuda()))
            for _ in range(20):
                before = gpu.reads.total()
                _, position = pool.largest(None, None, distance)
                assert 1 <= gpu.reads.total() - before <= most
                before = gpu.reads.total()
                pool.take(position)
                assert gpu.reads.total() == before
            found = pool.scores()
            assert found.device.type == "cuda" and found.tolist() == pytest.approx(squares, rel=1e-12)
        assert pool.picks == expected


@pytest.mark.parametrize("name", ["coreset", "badge"])
def test_a_selection_reads_once_per_pick_from_a_gpu(name, monkeypatch):
    g = torch.Generator().manual_seed(0)
    x = torch.diag(torch.linspace(1, 3, 40)[torch.randperm(40, generator=g)])
    probs = torch.rand(40, 3, generator=g).softmax(dim=1)

    def picks(count, x, probs):
        if name == "coreset":
            return k_center_greedy(x, torch.zeros_like(x[:1]), count)
        return badge_select(probs, x, count, torch.Generator().manual_seed(3))

    def reads(count):
        with pretended_gpu(monkeypatch) as gpu:
            assert torch.equal(picks(count, x.cuda(), probs.cuda()), picks(count, x, probs))
            return gpu.reads.total()

    assert reads(25) - reads(10) == 15
