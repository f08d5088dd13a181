"""k-means: positions in the pool near the centers, distinct whatever the clusters, on any number of threads."""

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans as ScikitKMeans
from sklearn.cluster import MiniBatchKMeans
from threadpoolctl import threadpool_info, threadpool_limits

from dal.acquisition import KMeans, k_means_select
from dal.acquisition.search import clusters, lloyd
from dal.acquisition.search.clusters import k_means, nearest_to_centers
from dal.errors import DalError, NonFiniteError


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def blobs(seed, sizes, num_features=5, spread=0.1):
    g = generator(seed)
    centers = 10 * torch.randn(len(sizes), num_features, generator=g)
    labels = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    labels = labels[torch.randperm(len(labels), generator=g)]
    return centers[labels] + spread * torch.randn(len(labels), num_features, generator=g), labels


def nearest_in_turn(points, centers):
    taken = []
    for center in centers:
        distances = [(float(((x - center) ** 2).sum()), i) for i, x in enumerate(points) if i not in taken]
        taken.append(min(distances)[1])
    return taken


@pytest.mark.parametrize("seed", range(5))
def test_one_point_of_each_blob_nearest_to_its_mean_the_largest_first(seed):
    features, labels = blobs(seed, [40, 30, 20, 10])
    found = KMeans().select({"features": features}, {}, 4, generator(seed))
    assert labels[found.positions].tolist() == [0, 1, 2, 3]
    assert found.scores.tolist() == [40, 30, 20, 10]
    points = features.double().numpy()
    means = [points[labels.numpy() == blob].mean(axis=0) for blob in range(4)]
    assert found.positions.tolist() == nearest_in_turn(points, means)


@pytest.mark.parametrize("seed", range(5))
def test_centers_are_fixed_points_of_k_means_no_worse_than_scikit_learn_s(seed):
    points = torch.randn(300, 6, generator=generator(seed), dtype=torch.float64)
    found, centers = k_means(points, 12, generator(seed))
    distances = ((points[:, None] - centers) ** 2).sum(dim=2)
    assert torch.equal(distances.argmin(dim=1), found)
    for cluster in range(12):
        torch.testing.assert_close(points[found == cluster].mean(dim=0), centers[cluster], rtol=0, atol=0.1)
    inertia = float(distances.amin(dim=1).sum())
    others = [ScikitKMeans(12, n_init=1, random_state=s).fit(points.numpy()).inertia_ for s in range(10)]
    assert min(others) * 0.98 <= inertia <= max(others) * 1.02


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_nearest_points_are_those_of_differences(offset):
    g = generator(3)
    points = torch.randn(80, 4, generator=g, dtype=torch.float64) + offset
    points[40:60] = points[:20]
    centers = points[torch.randint(0, 80, (30,), generator=g)] + 1e-3 * torch.randn(30, 4, generator=g).double()
    centers[10:20] = centers[:10]
    found = nearest_to_centers(points, centers)
    assert found.tolist() == nearest_in_turn(points.numpy(), centers.numpy())
    assert len(set(found.tolist())) == 30


def test_equal_points_are_taken_in_order_and_never_twice():
    found = k_means_select(torch.full((6, 3), 0.1), 6, generator())
    assert found.tolist() == list(range(6))
    # Three distinct points, five asked for.
    features = torch.tensor([[0.0], [0.0], [5.0], [5.0], [9.0], [9.0]])
    assert {float(x) for x in features[k_means_select(features, 5, generator())]} == {0.0, 5.0, 9.0}


def test_numbers_beyond_what_can_be_squared():
    features, _ = blobs(0, [9, 7, 5])
    expected = k_means_select(features.double(), 3, generator())
    for scale in (2.0**700, 2.0**-700):
        assert torch.equal(k_means_select(features.double() * scale, 3, generator()), expected)


def test_large_inputs_go_by_mini_batches_to_nearly_the_same_clusters(monkeypatch):
    features, labels = blobs(1, [200, 150, 100], spread=0.5)
    monkeypatch.setattr(clusters, "_MOST_PRODUCTS", 1)
    found = k_means_select(features, 3, generator())
    assert sorted(labels[found].tolist()) == [0, 1, 2]
    assert torch.equal(found, k_means_select(features, 3, generator()))


def test_threads_do_not_matter(monkeypatch):
    features, threads, found = torch.randn(3000, 8, generator=generator()), [], []
    fit, seeds = MiniBatchKMeans.fit, lloyd._seeds

    def watched(self, points):
        threads.extend(pool["num_threads"] for pool in threadpool_info())
        return fit(self, points)

    def watched_seeds(*arguments):
        threads.append(torch.get_num_threads())
        return seeds(*arguments)

    monkeypatch.setattr(MiniBatchKMeans, "fit", watched)
    monkeypatch.setattr(lloyd, "_seeds", watched_seeds)
    before = torch.get_num_threads()
    for most in (2**31, 1):
        monkeypatch.setattr(clusters, "_MOST_PRODUCTS", most)
        for limit in (1, 4):
            torch.set_num_threads(limit)
            with threadpool_limits(limits=limit):
                found.append(k_means_select(features, 50, generator(1)))
    torch.set_num_threads(before)
    assert torch.equal(*found[:2]) and torch.equal(*found[2:]) and len(threads) >= 4 and set(threads) == {1}


@pytest.mark.parametrize("kind", ["float32", "bfloat16", "offset", "few distinct"])
def test_float32_products_find_the_points_of_float64_differences(kind, monkeypatch):
    """In blocks, with centers that want the same points and points that products cannot tell apart."""
    monkeypatch.setattr(clusters, "_MOST_PAIRS", 1000)
    points = torch.randn(300, 6, generator=generator(1))
    points = {
        "float32": points,
        "bfloat16": points.bfloat16(),
        "offset": points + 3e4,
        "few distinct": points[torch.arange(300) % 3],
    }[kind]
    centers = points[torch.randperm(300, generator=generator(2))[:20]].double() + 1e-6
    centers = torch.cat([centers, centers, centers, centers[:5], centers[:5], centers[:5]])
    assert nearest_to_centers(points, centers).tolist() == nearest_in_turn(points.double().numpy(), centers.numpy())


def test_k_means_holds_a_float32_copy_of_the_points(largest_tensor):
    points = torch.randn(60_000, 40, generator=generator())
    with largest_tensor(points) as largest:
        k_means_select(points, 8, generator())
    assert largest.num_bytes == 4 * points.numel()


def test_a_cluster_that_loses_all_points_keeps_its_center():
    points = torch.tensor([[0.0], [0.0], [0.0], [1.0]])
    found, centers = k_means(points, 4, generator())
    assert found.tolist()[:3] == [found[0]] * 3 and found[3] != found[0]
    assert set(centers[:, 0].tolist()) == {0.0, 1.0}


def test_threads_of_the_program_are_left_as_they_were():
    before = torch.get_num_threads()
    k_means_select(torch.randn(20, 3, generator=generator()), 4, generator())
    assert torch.get_num_threads() == before


def test_what_makes_no_sense_is_refused():
    with pytest.raises(DalError, match=r"features: expected a tensor of shape \(N, D\), got 'ndarray'"):
        k_means_select(np.zeros((4, 3)), 1, generator())
    with pytest.raises(DalError, match="query_size: expected a whole number from 1 to 4"):
        k_means_select(torch.zeros(4, 3), 5, generator())
    with pytest.raises(NonFiniteError, match="features: expected finite numbers, got nan at row 1 of 2"):
        k_means_select(torch.tensor([[0.0], [torch.nan]]), 1, generator())
