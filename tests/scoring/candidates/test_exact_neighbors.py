"""Exact neighbors against a slow NumPy reference, FAISS against the exact ones."""

import numpy as np
import pytest
import torch

from dal.acquisition.search.rows import DiskRows
from dal.errors import DalError, NonFiniteError
from dal.scoring.candidates import faiss_neighbors
from dal.scoring.candidates.exact_neighbors import Embedding, ExactNeighbors
from dal.scoring.candidates.faiss_neighbors import FaissNeighbors


def reference(points, queries, num_neighbors):
    """By hand: all distances in float64, the query itself left out, ties by index."""
    points = np.asarray(points, dtype=np.float64)
    found = []
    for query in queries:
        distances = np.square(points - points[query]).sum(axis=1)
        distances[query] = np.inf
        order = np.lexsort((np.arange(len(points)), distances))
        found.append([int(i) for i in order if i != query][:num_neighbors])
    return found


def g(seed):
    return np.random.default_rng(seed)


POINTS = {
    "float32": g(0).normal(size=(300, 24)).astype(np.float32),
    "float16": g(1).normal(size=(300, 4)).astype(np.float16),
    "one number": g(2).normal(size=(200, 1)),
    "grid with ties and duplicates": g(3).integers(0, 3, size=(300, 4)).astype(np.float32),
    "all equal": np.full((90, 3), 0.1, dtype=np.float32),
    "offset 1e4": 1e4 + g(4).normal(size=(300, 16)),
    "offset 1e4, close together": 1e4 + 1e-4 * g(5).normal(size=(300, 16)),
    "offset 1e4, in one coordinate": g(6).normal(size=(300, 16)) + np.array([1e4] + [0] * 15),
    "offset 1e4, grid in float32": (1e4 + g(7).integers(0, 3, size=(300, 5)) / 1024).astype(np.float32),
    "differ in their last bits": 1 + g(8).integers(0, 4, size=(200, 6)) * np.finfo(np.float64).eps,
    "two far clusters": g(9).normal(size=(200, 8)) * 1e-3 + 1e4 * (np.arange(200) % 2)[:, None],
    "a far outlier": np.concatenate([g(10).normal(size=(200, 6)), np.full((1, 6), 1e8)]),
    "many sizes": g(11).normal(size=(300, 6)) * 10.0 ** g(12).integers(-12, 3, size=(300, 1)),
    "too small for float32 beside the largest": np.concatenate(
        [[[1.0, 0.0], [-1.0, 0.0]], g(15).normal(size=(300, 2)) * 10.0 ** g(16).uniform(-24, -18, size=(300, 1))]
    ),
    "huge": g(13).normal(size=(100, 6)) * 1e200,
    "minute": g(14).normal(size=(100, 6)) * 1e-200,
    "nearer and nearer": np.arange(400, dtype=np.float64)[:, None] ** 2,
}


@pytest.mark.parametrize("name", POINTS)
@pytest.mark.parametrize("num_neighbors", [1, 12])
def test_exact_neighbors_are_those_of_the_reference(name, num_neighbors):
    points = POINTS[name]
    queries = [*range(0, len(points), 7), len(points) - 1]
    scaled = points.astype(np.float64)
    if name in ("huge", "minute"):  # whose squares the reference could not hold
        scaled = np.ldexp(scaled, -int(np.frexp(np.abs(scaled).max())[1]))
    expected = reference(scaled, queries, num_neighbors)
    found = ExactNeighbors(Embedding(points)).search(torch.tensor(queries), num_neighbors)
    assert found.dtype == torch.int64 and found.tolist() == expected


@pytest.mark.parametrize("name", POINTS)
def test_blocks_and_company_make_no_difference(name):
    embedding = Embedding(POINTS[name])
    queries = torch.arange(0, len(embedding), 23)
    expected = ExactNeighbors(embedding).search(queries, 9)
    for query_block, block_values in [(1, 1), (3, 300), (1000, 5000)]:
        small = ExactNeighbors(embedding, query_block, block_values)
        assert torch.equal(small.search(queries, 9), expected)
    alone = [ExactNeighbors(embedding).search(query[None], 9) for query in queries.flip(0)]
    assert torch.equal(torch.cat(alone).flip(0), expected)


def test_a_file_is_read_as_the_array_in_memory_is(tmp_path):
    points = POINTS["float16"]
    np.save(tmp_path / "points.npy", points)
    mapped = np.load(tmp_path / "points.npy", mmap_mode="r")
    queries = torch.arange(300)
    expected = ExactNeighbors(Embedding(torch.from_numpy(points))).search(queries, 5)
    for stored in (mapped, DiskRows(tmp_path / "points.npy")):
        assert torch.equal(ExactNeighbors(Embedding(stored)).search(queries, 5), expected)
    columns = torch.from_numpy(np.asfortranarray(points))
    assert torch.equal(ExactNeighbors(Embedding(columns)).search(queries, 5), expected)
    short = torch.from_numpy(points).bfloat16()
    expected = ExactNeighbors(Embedding(short.double())).search(queries, 5)
    assert torch.equal(ExactNeighbors(Embedding(short)).search(queries, 5), expected)


def test_more_neighbors_than_points_are_all_of_them_and_no_query_is_no_answer():
    search = ExactNeighbors(Embedding(torch.tensor([[0.0], [5.0], [1.0]]))).search
    assert search(torch.tensor([1]), 100).tolist() == [[2, 0]]
    assert search(torch.empty(0, dtype=torch.int64), 100).shape == (0, 2)
    assert ExactNeighbors(Embedding(torch.ones(1, 4))).search(torch.tensor([0]), 3).shape == (1, 0)
    with pytest.raises(DalError, match="num_neighbors: expected at least 1, got 0"):
        search(torch.tensor([1]), 0)


@pytest.mark.parametrize(
    "points,got",
    [
        (torch.zeros(3), r"float32 of shape \(3,\)"),
        (torch.zeros(0, 3), r"float32 of shape \(0, 3\)"),
        (torch.zeros(3, 3, dtype=torch.int64), r"int64 of shape \(3, 3\)"),
        (np.zeros((3, 2), dtype=complex), r"complex128 of shape \(3, 2\)"),
    ],
)
def test_points_of_another_kind_are_one_sentence(points, got):
    expected = rf"^candidates.features_file: expected floating-point numbers of shape \(N, D\), got '({got})'\.$"
    with pytest.raises(DalError, match=expected):
        Embedding(points)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_named_with_its_row(value):
    points = np.zeros((700_000, 2), dtype=np.float16)
    points[600_001, 1] = value
    with pytest.raises(NonFiniteError, match=r"features_file: expected finite numbers, got .* at row 600001 of 700000"):
        Embedding(points)


def test_without_faiss_the_sentence_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(faiss_neighbors, "find_spec", lambda name: None)
    with pytest.raises(DalError, match=r"index: FAISS is not installed; run pip install faiss-cpu, or"):
        FaissNeighbors(Embedding(torch.zeros(3, 2)))


def test_faiss_finds_all_where_it_compares_all_and_most_where_it_does_not():
    pytest.importorskip("faiss")
    points = g(20).normal(size=(4000, 6)) + 1e4
    embedding, queries = Embedding(points), torch.arange(0, 4000, 9)
    exact = ExactNeighbors(embedding).search(queries, 10)
    assert torch.equal(FaissNeighbors(embedding).search(queries, 10), exact)
    approximate = FaissNeighbors(embedding, flat_up_to=1000)
    found = approximate.search(queries, 10)
    assert not (found == queries[:, None]).any()
    hits = [len(set(a) & set(b)) for a, b in zip(found.tolist(), exact.tolist(), strict=True)]
    assert 0.8 < sum(hits) / exact.numel() < 1
    for again in (approximate, FaissNeighbors(embedding, flat_up_to=1000)):
        alone = torch.cat([again.search(part, 10) for part in (queries[:1], queries[1:50], queries[50:])])
        assert torch.equal(alone, found), "what is searched for together must not matter"


def test_faiss_among_duplicates_never_gives_the_query_itself():
    pytest.importorskip("faiss")
    embedding = Embedding(torch.ones(100, 3))
    found = FaissNeighbors(embedding).search(torch.arange(100), 4)
    assert found.shape == (100, 4) and not (found == torch.arange(100)[:, None]).any()
    assert FaissNeighbors(embedding).search(torch.arange(2), 1000).shape == (2, 99)
