"""EPIG: the divergence of the joint label distribution from the product of its margins, by slow loops."""

import math

import numpy as np
import pytest
import torch

from dal.acquisition import EPIG, DiskRows, Shard, bald_scores, epig, epig_scores
from dal.errors import DalError, NonFiniteError


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(seed, num_points, num_draws, num_classes, dtype=torch.float64):
    logits = 2 * torch.randn(num_points, num_draws, num_classes, generator=generator(seed), dtype=torch.float64)
    return logits.log_softmax(dim=2).to(dtype)


def slow_epig(probs, target_probs):
    scores = []
    for point in probs:
        divergences = []
        for target in target_probs:
            joint = sum(np.outer(p, q) for p, q in zip(point, target, strict=True)) / len(point)
            product = np.outer(point.mean(axis=0), target.mean(axis=0))
            divergences.append(
                sum(j * math.log(j / m) for j, m in zip(joint.ravel(), product.ravel(), strict=True) if j > 0)
            )
        scores.append(sum(divergences) / len(divergences))
    return np.array(scores)


@pytest.mark.parametrize("block", [1, 300, 2**17])
@pytest.mark.parametrize("num_draws", [2, 7])
def test_scores_against_the_reference(num_draws, block, monkeypatch):
    monkeypatch.setattr(epig, "_BLOCK", block)
    points, targets = drawn(0, 9, num_draws, 5), drawn(1, 6, num_draws, 5)
    points[3, 1] = torch.tensor([0.0] + [-torch.inf] * 4)
    expected = torch.from_numpy(slow_epig(points.exp().numpy(), targets.exp().numpy()))
    found = epig_scores(points, targets)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-14)


def test_by_hand():
    opposite, unsure, same = [[1, 0], [0, 1]], [[0.5, 0.5]] * 2, [[0.25, 0.75]] * 2
    points = torch.tensor([opposite, unsure, same]).double().log()
    found = epig_scores(points, points[:1])
    torch.testing.assert_close(found, torch.tensor([math.log(2), 0, 0], dtype=torch.float64), rtol=1e-14, atol=1e-15)
    # Of targets whose draws agree, nothing can be learned, whatever BALD says.
    assert float(epig_scores(points, points[1:]).max()) < 1e-15 and float(bald_scores(points)[0]) > 0.69


def test_draws_of_points_and_targets_go_together():
    points, targets = drawn(2, 8, 5, 3), drawn(3, 4, 5, 3)
    order = torch.tensor([1, 2, 3, 4, 0])
    found = epig_scores(points, targets)
    torch.testing.assert_close(epig_scores(points[:, order], targets[:, order]), found, rtol=1e-12, atol=1e-14)
    assert float((epig_scores(points[:, order], targets) - found).abs().max()) > 1e-3


def test_never_more_than_bald_tells():
    points, targets = drawn(4, 50, 6, 4), drawn(5, 10, 6, 4)
    assert bool((epig_scores(points, targets) <= bald_scores(points)).all())


def test_targets_are_points_of_the_pool_drawn_by_the_generator(monkeypatch):
    rows = drawn(0, 30, 4, 3).flatten(1)
    seen = []
    scores_of = epig._scores
    monkeypatch.setattr(epig, "_scores", lambda rows, targets, k: seen.append(targets) or scores_of(rows, targets, k))
    function = EPIG(num_draws=4, num_targets=5)
    for seed in (0, 0, 1):
        function.select({"log_probs": rows}, {"log_probs": rows + 1}, 3, generator(seed))
    assert torch.equal(seen[0], seen[1]) and not torch.equal(seen[0], seen[2])
    for targets in seen:
        places = [int((rows == target).all(dim=1).nonzero()[0, 0]) for target in targets]
        assert len(set(places)) == 5
    EPIG(num_draws=4, num_targets=31).select({"log_probs": rows}, {}, 3, generator())
    assert torch.equal(seen[-1], rows)


def test_targets_that_are_given():
    points, targets = drawn(6, 20, 4, 3), drawn(7, 5, 4, 3)
    function = EPIG(num_draws=4).with_target_points({"log_probs": targets.flatten(1)})
    found = function.select({"log_probs": points.flatten(1)}, {}, 20, generator())
    scores = epig_scores(points, targets)
    assert torch.equal(found.positions, scores.argsort(descending=True)) and torch.equal(
        found.scores, scores[found.positions]
    )
    other = EPIG(num_draws=4).with_target_points({"log_probs": targets.flatten(1)})
    assert function == function and function != other and function != EPIG(num_draws=4)
    assert repr(function) == "EPIG(num_draws=4, num_targets=100, targets=<5 of them>)"
    with pytest.raises(DalError, match="targets: expected at least one target point, got 0"):
        EPIG().with_target_points({"log_probs": torch.zeros(0, 60)})


def test_of_many_that_are_given_some_are_drawn(monkeypatch):
    targets, seen = drawn(7, 50, 4, 3).flatten(1), []
    scores_of = epig._scores
    monkeypatch.setattr(epig, "_scores", lambda rows, targets, k: seen.append(targets) or scores_of(rows, targets, k))
    function = EPIG(num_draws=4, num_targets=6).with_target_points({"log_probs": targets})
    for seed in (0, 0, 1):
        function.select({"log_probs": drawn(6, 20, 4, 3).flatten(1)}, {}, 3, generator(seed))
    assert torch.equal(seen[0], seen[1]) and not torch.equal(seen[0], seen[2])
    assert all(len({int((targets == row).all(dim=1).nonzero()) for row in rows}) == 6 for rows in seen)


def test_rows_on_disk_make_no_difference(tmp_path):
    rows = drawn(1, 300, 20, 5, torch.float32).flatten(1)
    np.save(tmp_path / "rows.npy", rows.numpy())
    expected = EPIG().select({"log_probs": rows}, {}, 8, generator())
    found = EPIG().select_in(Shard.alone(300), {"log_probs": DiskRows(tmp_path / "rows.npy")}, {}, 8, generator())
    assert torch.equal(found.positions, expected.positions) and torch.equal(found.scores, expected.scores)


def test_blocks_are_small(largest_tensor):
    points = drawn(8, 40, 4, 60)
    watch = largest_tensor(points)
    with watch:
        epig_scores(points, points)
    # All joint distributions at once would take 40 * 40 * 60 * 60 numbers.
    assert watch.num_bytes <= 8 * epig._BLOCK


def test_what_makes_no_sense_is_refused():
    points = torch.zeros(3, 2, 4)
    with pytest.raises(DalError, match=r"log_probs: expected .*\(N, K, C\)"):
        epig_scores(torch.zeros(3, 4), points)
    for shape in [(0, 2, 4), (3, 3, 4), (3, 2, 5)]:
        with pytest.raises(DalError, match="target_log_probs: expected at least one target with 2 draws of 4 classes"):
            epig_scores(points, torch.zeros(shape))
    with pytest.raises(DalError, match="at least 2 draws"):
        epig_scores(torch.zeros(3, 1, 4), torch.zeros(3, 1, 4))
    bad = torch.zeros(3, 2, 4)
    bad[1, 0, 0] = torch.nan
    with pytest.raises(NonFiniteError, match=r"^log_probs: .* at row 1 of 3"):
        epig_scores(bad, points)
    with pytest.raises(NonFiniteError, match=r"^target_log_probs: .* at row 1 of 3"):
        epig_scores(points, bad)
    with pytest.raises(DalError, match="num_draws: expected a whole number of at least 2"):
        EPIG(num_draws=1)
    with pytest.raises(DalError, match="num_targets: expected a whole number of at least 1"):
        EPIG(num_targets=0)
