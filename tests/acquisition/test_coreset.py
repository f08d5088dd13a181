"""k-center greedy: the picks of a float64 reference that takes every distance by differences."""

import numpy as np
import pytest
import torch

from dal.acquisition import CoreSet, k_center_greedy
from dal.acquisition.search import nearest, small_pool
from dal.acquisition.search.geometry import Euclidean
from dal.acquisition.search.rows import DiskRows
from dal.errors import DalError


@pytest.fixture(params=[{}, small_pool.MOST_NUMBERS], ids=["large", "small"])
def engine(request, monkeypatch):
    """Run as in a large pool, and as in one that fits in a cache."""
    monkeypatch.setattr(small_pool, "MOST_NUMBERS", request.param)


def drawn(seed, num_points, num_labeled, num_features, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(num_points + num_labeled, num_features, generator=generator).to(dtype)
    return features[:num_points], features[num_points:]


def assert_as_reference(references, features, labeled, query_size, rtol=1e-12):
    positions, scores = references.k_center(features.double().numpy(), labeled.double().numpy(), query_size)
    assert k_center_greedy(features, labeled, query_size).tolist() == positions
    found = CoreSet().select({"features": features}, {"features": labeled}, query_size, torch.Generator())
    assert found.positions.tolist() == positions
    torch.testing.assert_close(found.scores, torch.tensor(scores).double(), rtol=rtol, atol=0)


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("seed", range(20))
def test_random_features(seed, references):
    dtype = [torch.float32, torch.float64, torch.float16, torch.bfloat16][seed % 4]
    features, labeled = drawn(seed, 60, 12 * (seed % 3), 2 + seed, dtype)
    assert_as_reference(references, features, labeled, 60 if seed % 5 == 0 else 20)


def test_by_hand():
    # The farthest from 0 is 9, then 5 lies 4 from 9 and 5 from 0: farther than 1 is from 0.
    features = torch.tensor([[0.0], [1.0], [5.0], [9.0]])
    found = CoreSet().select({"features": features}, {"features": torch.tensor([[0.0]])}, 4, torch.Generator())
    assert found.positions.tolist() == [3, 2, 1, 0]
    assert found.scores.tolist() == [9.0, 4.0, 1.0, 0.0]


@pytest.mark.usefixtures("engine")
def test_empty_labeled_set_begins_nearest_to_the_mean_of_the_pool():
    features = torch.tensor([[0.0, 0.0], [10.0, 0.0], [4.0, 0.0], [2.0, 0.0]])
    for labeled in ({"features": torch.empty(0, 2)}, {}):
        found = CoreSet().select({"features": features}, labeled, 4, torch.Generator())
        assert found.positions.tolist() == [2, 1, 0, 3]
        assert found.scores.tolist() == [0.0, 6.0, 4.0, 2.0]


@pytest.mark.usefixtures("engine")
def test_ties_go_to_the_lowest_position():
    features = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    assert k_center_greedy(features, torch.zeros(1, 2), 4).tolist() == [0, 1, 2, 3]


def integers(seed, rows, high=3):
    return torch.randint(0, high, (rows, 3), generator=torch.Generator().manual_seed(seed)).float()


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("num_labeled", [0, 1, 7])
@pytest.mark.parametrize(
    "kind", ["all equal", "zeros", "duplicates", "lattice", "labeled twice", "tiny", "huge", "mixed"]
)
def test_degenerate_features(kind, num_labeled, references):
    features, labeled = drawn(1, 40, num_labeled, 5, torch.float64)
    if kind == "all equal":
        features, labeled = torch.full((40, 5), 0.1), torch.full((num_labeled, 5), 0.1)
    elif kind == "zeros":
        features, labeled = torch.zeros(40, 5), torch.zeros(num_labeled, 5)
    elif kind == "duplicates":
        features = features[torch.arange(40) % 9]
        labeled[:1] = features[:1]
    elif kind == "lattice":
        features, labeled = integers(0, 40), integers(1, num_labeled)
    elif kind == "labeled twice":
        labeled = features[torch.arange(num_labeled) // 2]
    elif kind == "tiny":
        features, labeled = features * 1e-140, labeled * 1e-140
    elif kind == "huge":
        features, labeled = features * 1e140, labeled * 1e140
    elif kind == "mixed":
        features[::2] *= 1e18
        features[1::2] *= 1e-18
    assert_as_reference(references, features, labeled, 40)


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("scale", [1e18, 1e-18, 1e-38, 1e-40, 1e-42])
def test_norms_that_single_precision_cannot_square(scale, references):
    features, labeled = drawn(2, 50, 5, 8)
    assert_as_reference(references, features * scale, labeled * scale, 30)


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("scale", [2.0**-700, 2.0**700])
def test_norms_that_double_precision_cannot_square(scale):
    features, labeled = drawn(2, 50, 5, 8, torch.float64)
    select = CoreSet().select
    expected, found = (
        select({"features": features * s}, {"features": labeled * s}, 30, torch.Generator()) for s in (1.0, scale)
    )
    assert torch.equal(found.positions, expected.positions)
    assert torch.equal(found.scores, expected.scores * scale)


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("num_labeled", [0, 5])
def test_numbers_whose_sum_is_beyond_double_precision(num_labeled):
    generator = torch.Generator().manual_seed(0)
    features = 0.5 + 0.5 * torch.rand(200, 4, generator=generator, dtype=torch.float64)
    labeled = features[:num_labeled] + 0.01
    expected = k_center_greedy(features, labeled, 50)
    assert torch.equal(k_center_greedy(features * 2.0**1020, labeled * 2.0**1020, 50), expected)


def test_tensors_that_want_gradients_are_taken_as_they_are(recwarn):
    features, labeled = drawn(3, 80, 5, 16)
    expected = k_center_greedy(features, labeled, 20)
    assert torch.equal(k_center_greedy(features.requires_grad_(), labeled.requires_grad_(), 20), expected)
    assert not recwarn.list


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("num_labeled", [0, 10])
def test_common_offset_that_cancels(num_labeled, references):
    # At 1e4 the expansion of float32 squares has an error of about 10, which is larger than all distances here.
    features, labeled = drawn(3, 80, num_labeled, 16)
    assert_as_reference(references, features + 1e4, labeled + 1e4, 60)


@pytest.mark.usefixtures("engine")
def test_offset_of_one_cluster_leaves_pairs_open_and_settles_them(references):
    # Two far clusters: taking the mean away does not help, and only differences tell their points apart.
    features, labeled = drawn(4, 60, 20, 4, torch.float64)
    offset = torch.tensor([[0.0], [1e9]], dtype=torch.float64)
    features, labeled = features + offset[torch.arange(60) % 2], labeled + offset[torch.arange(20) % 2]
    assert_as_reference(references, features, labeled, 40)


@pytest.mark.parametrize("spread", [1.0, 1e-9])
@pytest.mark.parametrize("width", [4, 4 * 7])
def test_blocks_of_few_rows_and_chunks_of_few_centers(monkeypatch, spread, width, references):
    monkeypatch.setattr(small_pool, "MOST_NUMBERS", {})
    monkeypatch.setattr(nearest, "_BLOCK", width)
    monkeypatch.setattr(nearest, "CHUNK", 3)
    features, labeled = drawn(5, 30, 25, 4, torch.float64)
    offset = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    features = features * spread + offset[torch.arange(30) % 2]
    labeled = labeled * spread + offset[torch.arange(25) % 2]
    assert_as_reference(references, features, labeled, 20)


def plain_picks(features, labeled, query_size):
    """The definition in float64, all distances by differences, all up to date."""
    features = features.double()
    nearest = torch.cdist(features, labeled.double(), compute_mode="donot_use_mm_for_euclid_dist").amin(dim=1)
    positions = []
    for _ in range(query_size):
        positions.append(int(nearest.argmax()))
        nearest = torch.minimum(nearest, (features - features[positions[-1]]).square().sum(dim=1).sqrt())
        nearest[positions] = -1
    return positions


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("kind", ["random", "clusters", "heavy tails", "few directions"])
def test_points_that_are_not_looked_at_change_nothing(kind):
    features, labeled = drawn(8, 4000, 300, 24)
    if kind == "clusters":
        features = 0.1 * features + 3 * features[torch.arange(4000) % 50]
    elif kind == "heavy tails":
        features = features * features[:, :1].exp()
    elif kind == "few directions":
        features = features @ torch.randn(24, 3, generator=torch.Generator().manual_seed(0)) @ torch.ones(3, 24).triu()
    assert k_center_greedy(features, labeled, 300).tolist() == plain_picks(features, labeled, 300)


def test_most_points_are_not_looked_at(monkeypatch):
    """What makes it fast: bounds are lowered, and distances settled, for few points a pick."""
    monkeypatch.setattr(small_pool, "MOST_NUMBERS", {})
    features, labeled = drawn(8, 4000, 300, 24)
    features = features * features[:, :1].exp()
    looked_at = []
    for name in ("_settle", "_lower"):
        method = getattr(nearest.NearestCenters, name)
        monkeypatch.setattr(
            nearest.NearestCenters,
            name,
            lambda self, rows, *a, m=method: looked_at.append(len(rows)) or m(self, rows, *a),
        )
    k_center_greedy(features, labeled, 100)
    assert 100 <= sum(looked_at) < 100 * 50


def test_exact_distances_of_a_small_pool_are_computed_again_only_where_a_pick_is_near(monkeypatch):
    features, labeled = drawn(8, 800, 60, 512)
    exact, settled = Euclidean.exact, []
    monkeypatch.setattr(Euclidean, "exact", lambda self, x, c: settled.append(len(x)) or exact(self, x, c))
    assert k_center_greedy(features, labeled, 100).tolist() == plain_picks(features, labeled, 100)
    # The scores take about one a pick.
    assert 100 <= sum(settled) < 600


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("num_labeled", [0, 70])
def test_rows_on_disk_give_the_same_picks(dtype, num_labeled, tmp_path):
    features, labeled = drawn(9, 300, num_labeled, 10)
    features = features.numpy().astype(dtype)
    np.save(tmp_path / "features.npy", features)
    stored = DiskRows(tmp_path / "features.npy")
    found = k_center_greedy(stored, labeled, 60, memory_budget=2**30)
    assert torch.equal(found, k_center_greedy(torch.from_numpy(features), labeled, 60))


def test_budget_that_cannot_be_kept_is_refused():
    features, labeled = drawn(9, 300, 20, 10)
    with pytest.raises(DalError, match=r"memory_budget: expected at least \d+ bytes for 300 points and 30 centers"):
        k_center_greedy(features, labeled, 10, memory_budget=1000)


def test_picks_do_not_depend_on_the_precision_that_training_is_allowed():
    features, labeled = drawn(10, 3000, 100, 64)
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = k_center_greedy(features, labeled, 40)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert found.tolist() == plain_picks(features, labeled, 40)


def test_no_large_tensor_is_made(largest_tensor):
    features, labeled = drawn(6, 20_000, 1500, 256)
    with largest_tensor(features, labeled) as largest:
        k_center_greedy(features, labeled, 4)
    # Not even a copy of the features: N x N in bytes would be 400 MB.
    assert 0 < largest.num_bytes < features.untyped_storage().nbytes()


@pytest.mark.parametrize("kind", ["all equal", "labeled all equal"])
def test_equal_points_leave_no_pairs_open(kind, largest_tensor, monkeypatch):
    features, labeled = drawn(7, 10_000, 3000, 64)
    labeled = labeled[:1].repeat(3000, 1)
    if kind == "all equal":
        features = labeled[:1].repeat(10_000, 1)
    exact, settled = Euclidean.exact, []
    monkeypatch.setattr(Euclidean, "exact", lambda self, x, c: settled.append(len(x)) or exact(self, x, c))
    with largest_tensor(features, labeled) as largest:
        positions = k_center_greedy(features, labeled, 10)
    assert largest.num_bytes <= 2**24
    # At most one for each point and score; all would be 30 million.
    assert sum(settled) <= 10_000 + 10
    if kind == "all equal":
        assert positions.tolist() == list(range(10))


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(DalError, match=r"features: expected a tensor of shape \(N, D\), got 'ndarray'"):
        k_center_greedy(np.zeros((4, 3)), torch.zeros(2, 3), 1)
    with pytest.raises(DalError, match=r"memory_budget: expected a number of bytes, or None, got '4GiB'"):
        k_center_greedy(torch.zeros(4, 3), torch.zeros(2, 3), 1, memory_budget="4GiB")
    with pytest.raises(DalError, match=r"labeled_features: expected 3 features per point, as in the pool, got 2\."):
        k_center_greedy(torch.zeros(4, 3), torch.zeros(2, 2), 1)
    with pytest.raises(DalError, match=r"features: expected .* \(N, D\)"):
        k_center_greedy(torch.zeros(4), torch.zeros(2, 2), 1)
    with pytest.raises(DalError, match=r"labeled_features: expected finite numbers, got nan at row 1 of 2"):
        k_center_greedy(torch.zeros(4, 1), torch.tensor([[0.0], [torch.nan]]), 1)
