"""TypiClust: typicality and the order of clusters against obvious loops, with k-means' clusters and made-up ones."""

import math

import numpy as np
import pytest
import torch

from dal.acquisition import TypiClust, typicality, typiclust_select
from dal.acquisition.search import pairs
from dal.acquisition.search.clusters import k_means, unit_points
from dal.errors import DalError, NonFiniteError
from dal.runtime.memory import LiveBytes


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def unit(points):
    return np.array([x / max(math.sqrt(float((x**2).sum())), 1e-300) for x in np.asarray(points, np.float64)])


def reference_typicality(points, num_neighbors):
    found = []
    for i, x in enumerate(points):
        distances = sorted(math.sqrt(float(((x - y) ** 2).sum())) for j, y in enumerate(points) if j != i)
        nearest = distances[:num_neighbors]
        mean = sum(nearest) / len(nearest) if nearest else 0.0
        found.append(1 / mean if mean > 0 else np.finfo(float).max)
    return np.array(found)


def reference_select(features, clusters, num_labeled, query_size, num_neighbors=20, min_cluster_size=5):
    points, clusters, num_pool = unit(features), np.asarray(clusters), len(features) - num_labeled
    members = {c: [i for i in range(len(points)) if clusters[i] == c] for c in set(clusters.tolist())}
    holds = {c: sum(i >= num_pool for i in rows) for c, rows in members.items()}
    taken = []
    while len(taken) < query_size:
        free = {c: [i for i in rows if i < num_pool and i not in taken] for c, rows in members.items()}
        large = [c for c in members if free[c] and len(members[c]) >= min_cluster_size]
        allowed = large or [c for c in members if free[c]]
        fewest = min(holds[c] for c in allowed)
        biggest = max(len(members[c]) for c in allowed if holds[c] == fewest)
        cluster = min(c for c in allowed if holds[c] == fewest and len(members[c]) == biggest)
        worth = dict(zip(members[cluster], reference_typicality(points[members[cluster]], num_neighbors), strict=True))
        taken.append(max(free[cluster], key=lambda i: (worth[i], -i)))
        holds[cluster] += 1
    return taken


@pytest.mark.parametrize("num_neighbors", [1, 5, 20, 100])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_typicality(num_neighbors, dtype):
    features = torch.randn(40, 6, generator=generator()).to(dtype)
    expected = reference_typicality(unit(features.double()), num_neighbors)
    found = typicality(features, num_neighbors)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=1e-12, atol=0)


def test_typicality_by_blocks_and_near_points_keeps_its_digits(monkeypatch):
    monkeypatch.setattr(pairs, "_MOST_PAIRS", 100)
    features = torch.ones(40, 6).double() + 1e-6 * torch.randn(40, 6, generator=generator(), dtype=torch.float64)
    expected = reference_typicality(unit(features), 5)
    torch.testing.assert_close(typicality(features, 5), torch.from_numpy(expected), rtol=1e-8, atol=0)


def test_equal_points_and_single_ones_are_finite():
    largest = torch.finfo(torch.float64).max
    assert typicality(torch.ones(3, 2)).tolist() == [largest] * 3
    assert typicality(torch.ones(1, 2)).tolist() == [largest]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("query_size", [1, 9, 50])
def test_choice_from_clusters_of_many_sizes(seed, query_size):
    g = generator(seed)
    num_labeled = 10 * (seed % 3)
    features = torch.randn(50 + num_labeled, 4, generator=g, dtype=torch.float64)
    # Some clusters are small, some hold labeled points, and numbers are skipped.
    clusters = (torch.rand(50 + num_labeled, generator=g) ** 3 * 14).long() * 2
    expected = reference_select(features, clusters, num_labeled, query_size, num_neighbors=4)
    assert typiclust_select(features, clusters, num_labeled, query_size, num_neighbors=4).tolist() == expected


def on_circle(*degrees):
    angles = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def test_by_hand():
    # Three clusters of 5, 6 and 2 points; the middle of each is its most typical point. The last point is labeled.
    features = on_circle(0, 1, 2, 3, 4, 90, 91, 92, 93, 94, 200, 202, 92.5)
    clusters = torch.tensor([0] * 5 + [1] * 5 + [2] * 2 + [1])
    found = typiclust_select(features, clusters, 1, 12)
    # The cluster without a label first though it is smaller; then both hold one, and the larger goes on.
    assert found[:3].tolist() == [2, 7, 1]
    # The cluster of two points comes when the others have none left.
    assert sorted(found[-2:].tolist()) == [10, 11]
    assert typiclust_select(features, clusters, 1, 2, min_cluster_size=2).tolist() == [2, 10]
    # Without labels the largest is the first.
    assert typiclust_select(features, clusters, 0, 1).tolist()[0] in (7, 12)


@pytest.mark.parametrize("max_clusters", [500, 6])
def test_the_class_clusters_pool_and_labeled_points_together(max_clusters):
    features = torch.randn(90, 5, generator=generator(1))
    pool, labeled = features[:80], features[80:]
    found = TypiClust(max_clusters=max_clusters).select({"features": pool}, {"features": labeled}, 12, generator(2))
    clusters, _ = k_means(unit_points("features", features), min(22, max_clusters), generator(2))
    assert len(clusters.unique()) == min(22, max_clusters)
    expected = reference_select(features, clusters, 10, 12)
    assert found.positions.tolist() == expected
    for position, score in zip(found.positions.tolist(), found.scores.tolist(), strict=True):
        rows = (clusters == clusters[position]).nonzero().flatten()
        worth = reference_typicality(unit(features[rows]), 20)
        assert score == pytest.approx(worth[rows.tolist().index(position)], rel=1e-12)


@pytest.mark.parametrize("labeled", [{}, {"features": torch.empty(0, 5)}, {"features": torch.empty(0, 0)}])
def test_no_labeled_point_is_fine(labeled):
    features = torch.randn(80, 5, generator=generator(1))
    found = TypiClust().select({"features": features}, labeled, 3, generator(2))
    clusters, _ = k_means(unit_points("features", features), 3, generator(2))
    assert found.positions.tolist() == reference_select(features, clusters, 0, 3)


def test_what_makes_no_sense_is_refused():
    with pytest.raises(DalError, match="max_clusters: expected a whole number of at least 1, got 0"):
        TypiClust(max_clusters=0)
    with pytest.raises(DalError, match=r"clusters: expected shape \(4,\), one index per point, got \(3,\)"):
        typiclust_select(torch.zeros(4, 2), torch.zeros(3).long(), 0, 1)
    with pytest.raises(DalError, match="query_size: expected a whole number from 1 to 3"):
        typiclust_select(torch.zeros(4, 2), torch.zeros(4).long(), 1, 4)
    with pytest.raises(DalError, match=r"labeled_features: expected 2 features per point, as in the pool, got 3"):
        TypiClust().select({"features": torch.zeros(4, 2)}, {"features": torch.zeros(1, 3)}, 1, generator())
    with pytest.raises(NonFiniteError, match="labeled_features: expected finite numbers, got inf at row 0 of 1"):
        TypiClust().select({"features": torch.zeros(4, 2)}, {"features": torch.full((1, 2), torch.inf)}, 1, generator())


def test_memory_is_at_most_twice_the_features():
    points = torch.randn(6000, 64, generator=generator())
    points += 9 * torch.eye(64)[torch.arange(6000) % 8]
    none = {"features": points[:0]}
    with LiveBytes() as live:
        TypiClust().select({"features": points}, none, 40, generator())
    assert points.nbytes < live.peak <= 2 * points.nbytes
