"""ProbCover: the cover of a graph whose edges are written out, and the radius of the purity rule by trying all."""

import math

import numpy as np
import pytest
import torch
from helpers.passes import choose, summarize_points
from helpers.toys import toy_data, toy_model

from dal.acquisition import ProbCover, probcover, probcover_select, purest_delta
from dal.acquisition.search import balls
from dal.acquisition.search.clusters import k_means, unit_points
from dal.acquisition.search.shards import Shard
from dal.errors import DalError, NonFiniteError
from dal.models.adapt import as_adapted
from dal.runtime.byte_size import parse_bytes
from dal.scoring.config import ScoringConfig


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def unit(points):
    return np.array([x / max(math.sqrt(float((x**2).sum())), 1e-300) for x in np.asarray(points, np.float64)])


def distances(points, others):
    return np.array([[math.sqrt(float(((x - y) ** 2).sum())) for y in others] for x in points])


def reference_cover(features, labeled, query_size, delta):
    """Positions and counts until all is covered."""
    points = unit(features)
    balls = [set(np.flatnonzero(row < delta * (1 - 1e-12)).tolist()) for row in distances(points, points)]
    uncovered = set(range(len(points)))
    if len(labeled):
        near = (distances(points, unit(labeled)) < delta * (1 - 1e-12)).any(axis=1)
        uncovered -= set(np.flatnonzero(near).tolist())
    positions, counts = [], []
    while len(positions) < query_size and uncovered:
        worth = [-1 if i in positions else len(balls[i] & uncovered) for i in range(len(points))]
        positions.append(int(np.argmax(worth)))
        counts.append(max(worth))
        uncovered -= balls[positions[-1]]
    return positions, counts


def reference_delta(features, labels, purity):
    """Of all radii at which a ball changes, the largest at which enough balls are pure."""
    points, labels = unit(features), np.asarray(labels)
    between = distances(points, points)
    best = 0.0
    for delta in np.unique(between):
        pure = sum(len(set(labels[row < delta].tolist())) <= 1 for row in between)
        if pure >= round(purity * len(points), 9):
            best = float(delta)
    return best


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("delta", [0.05, 0.4, 1.0])
@pytest.mark.parametrize("width", [2**21, 150])
def test_cover(seed, delta, width, monkeypatch):
    monkeypatch.setattr(balls, "_MOST_PAIRS", width)
    dtype = [torch.float32, torch.float64, torch.float16][seed % 3]
    features = torch.randn(70, 3, generator=generator(seed)).to(dtype)
    labeled = torch.randn(6 * (seed % 2), 3, generator=generator(seed + 100)).to(dtype)
    positions, counts = reference_cover(features.double(), labeled.double(), 70, delta)
    found = ProbCover(delta=delta).select({"features": features}, {"features": labeled}, 70, generator())
    assert found.positions[: len(positions)].tolist() == positions
    assert found.scores.tolist() == counts + [0] * (70 - len(positions))
    assert sorted(found.positions.tolist()) == list(range(70))
    few = probcover_select(features, labeled, 3, delta, generator())
    assert few[: len(positions)].tolist() == positions[:3]


def test_a_graph_that_exceeds_the_budget_is_computed_again_with_the_same_picks():
    features, labeled = torch.randn(200, 3, generator=generator(1)), torch.randn(5, 3, generator=generator(2))
    function, pool = ProbCover(delta=0.4), {"features": features}
    expected = function.select(pool, {"features": labeled}, 40, generator())
    found = function.select_in(Shard.alone(200, 64), pool, {"features": labeled}, 40, generator())
    assert torch.equal(found.positions, expected.positions) and torch.equal(found.scores, expected.scores)


@pytest.mark.parametrize("budget", [None, "64KiB", "1KiB"])
def test_in_a_campaign_the_graph_fits_in_half_of_the_budget_and_does_not_change_the_picks(budget, monkeypatch):
    graphs = []

    class Watched(balls.BallGraph):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            graphs.append(self)

    monkeypatch.setattr(probcover, "BallGraph", Watched)
    torch.manual_seed(0)
    model, data = as_adapted(toy_model()), toy_data(120)
    candidates, labeled = (data, torch.arange(100)), (data, torch.arange(100, len(data)))
    config = ScoringConfig(memory_budget=budget, tile_size=50)
    (features,) = summarize_points(model, ProbCover(delta=1), *candidates)
    delta = float(np.median(distances(unit(features), unit(features))))
    found = choose(model, ProbCover(delta=delta), candidates, labeled, 30, config=config)
    unlimited = choose(model, ProbCover(delta=delta), candidates, labeled, 30)
    assert torch.equal(found.positions, unlimited.positions) and torch.equal(found.scores, unlimited.scores)
    limited, free = graphs
    size = 8 * int(free.degrees.sum())  # 4 bytes, and as many while the lists are joined
    assert len(free._neighbors) == size // 8 and size > 2**14
    assert (limited._neighbors is None) == (budget is not None and size > parse_bytes("budget", budget) // 2)


def on_circle(*degrees):
    angles = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def chord(degrees):
    return 2 * math.sin(math.radians(degrees) / 2)


def test_by_hand_with_the_pool_s_tail():
    # Balls of 2.5 degrees: 90 degrees holds 3 points, 0 two; the last point of the pool, 200, is alone.
    features = on_circle(0, 2, 88, 90, 92, 200)
    found = ProbCover(delta=chord(2.5)).select({"features": features}, {}, 6, generator())
    assert found.positions[:3].tolist() == [3, 0, 5]
    assert found.scores.tolist() == [3.0, 2.0, 1.0, 0.0, 0.0, 0.0]
    # A labeled point at 91 covers 90 and 92, and 88 is then alone too: the lowest position of the ties comes first.
    found = ProbCover(delta=chord(2.5)).select({"features": features}, {"features": on_circle(91)}, 3, generator())
    assert found.positions.tolist() == [0, 2, 5] and found.scores.tolist() == [2.0, 1.0, 1.0]


def test_lengths_do_not_matter():
    features = torch.randn(40, 3, generator=generator())
    longer = features * torch.rand(40, 1, generator=generator(1)).add(0.1)
    found = [probcover_select(x, features[:0], 8, 0.3, generator()) for x in (features, longer)]
    assert torch.equal(*found)


def test_all_covered_at_the_start_is_a_random_choice():
    features = on_circle(*range(10))
    seen = {tuple(probcover_select(features, features, 2, 0.5, generator(s)).tolist()) for s in range(200)}
    assert len(seen) > 60


def test_a_point_at_the_radius_is_outside_on_both_sides_of_rounding():
    features = on_circle(0, 10, 20, 30)
    (radius,) = {float(torch.linalg.vector_norm(features[0] - features[1]))}
    for delta, count in ((radius, 1), (radius * (1 - 1e-15), 1), (radius * (1 + 1e-9), 3)):
        assert ProbCover(delta=delta).select({"features": features}, {}, 1, generator()).scores.tolist() == [count]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("purity", [0.5, 0.95, 1.0])
def test_purest_delta_is_the_best_of_all_radii(seed, purity, monkeypatch):
    monkeypatch.setattr(balls, "_MOST_PAIRS", 170)
    features = torch.randn(40, 3, generator=generator(seed), dtype=torch.float64)
    labels, _ = k_means(unit_points("features", features), 4, generator(seed))
    found = purest_delta(features, labels, purity)
    assert found == pytest.approx(reference_delta(features, labels, purity), rel=1e-12)


def test_purity_by_hand():
    # The nearest other label is 10 degrees away for two points, 11 for one, and 90 for the fourth.
    features, labels = on_circle(0, 10, 100, 359), torch.tensor([0, 1, 1, 0])
    for purity, degrees in ((1.0, 10), (0.75, 10), (0.5, 11), (0.25, 100)):
        assert purest_delta(features, labels, purity) == pytest.approx(chord(degrees), rel=1e-12)
    assert purest_delta(features, torch.zeros(4).long()) == math.inf


def test_the_class_finds_its_delta_with_as_many_clusters_as_classes(fake_model):
    model = fake_model.random(60, num_classes=3)
    function = ProbCover()
    pool, labeled = (function.summarize(model, x) for x in (torch.arange(50), torch.arange(50, 60)))
    found = function.select(pool, labeled, 8, generator(5))
    labels, _ = k_means(unit_points("features", model.feature_table), 3, generator(5))
    delta = reference_delta(model.feature_table.double(), labels, 0.95)
    positions, counts = reference_cover(pool["features"].double(), labeled["features"].double(), 8, delta)
    assert len(positions) == 8 and found.positions.tolist() == positions and found.scores.tolist() == counts
    told = ProbCover(num_clusters=3)
    assert function.keeps == ("features", "num_classes") and told.keeps == ProbCover(delta=1.0).keeps == ("features",)
    pool, labeled = (told.summarize(model, x) for x in (torch.arange(50), torch.arange(50, 60)))
    assert torch.equal(told.select(pool, labeled, 8, generator(5)).positions, found.positions)


def test_no_large_tensor_is_made(largest_tensor):
    features = torch.randn(4000, 16, generator=generator())
    with largest_tensor(features) as largest:
        ProbCover(num_clusters=5).select({"features": features}, {"features": features[:500] + 0.1}, 20, generator())
    # All pairs would be 128 MB.
    assert 0 < largest.num_bytes <= 2**24


def test_what_makes_no_sense_is_refused():
    for delta in (0, -1.0, math.nan, True):
        with pytest.raises(DalError, match="delta: expected a radius above 0, got"):
            ProbCover(delta=delta)
    with pytest.raises(DalError, match="purity: expected a share above 0 to 1, got 95"):
        ProbCover(purity=95)
    with pytest.raises(DalError, match="num_clusters: expected a whole number of at least 2, got 1"):
        ProbCover(num_clusters=1)
    with pytest.raises(DalError, match=r"pseudo_labels: expected shape \(3,\), one label per point, got \(2,\)"):
        purest_delta(torch.zeros(3, 2), torch.zeros(2))
    with pytest.raises(NonFiniteError, match="features: expected finite numbers, got nan at row 0 of 1"):
        probcover_select(torch.tensor([[torch.nan]]), torch.zeros(0, 1), 1, 0.5, generator())
