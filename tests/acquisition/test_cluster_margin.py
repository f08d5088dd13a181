"""Cluster-Margin: average linkage by joining clusters one by one, and the turns of the clusters written out."""

import numpy as np
import pytest
import torch

from dal.acquisition import ClusterMargin, average_linkage, cluster_margin, cluster_margin_select
from dal.acquisition.search.numbers import safe_scale
from dal.acquisition.search.rows import distinct
from dal.errors import DalError, NonFiniteError


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def reference_linkage(points, num_clusters):
    """Sets of rows."""
    groups = [[i] for i in range(len(points))]

    def apart(first, second):
        return np.mean([np.sqrt(((points[i] - points[j]) ** 2).sum()) for i in first for j in second])

    while len(groups) > num_clusters:
        pairs = [(apart(x, y), a, b) for a, x in enumerate(groups) for b, y in enumerate(groups) if a < b]
        _, a, b = min(pairs)
        groups[a] = groups[a] + groups.pop(b)
    return {frozenset(group) for group in groups}


def as_sets(clusters):
    return {frozenset((clusters == c).nonzero().flatten().tolist()) for c in clusters.unique()}


@pytest.mark.parametrize("num_clusters", [1, 3, 8, 25])
def test_average_linkage(num_clusters):
    features = torch.randn(25, 3, generator=generator(num_clusters))
    found = average_linkage(features, num_clusters)
    assert found.dtype == torch.int64 and int(found.min()) == 0
    assert as_sets(found) == reference_linkage(features.double().numpy(), num_clusters)
    assert as_sets(average_linkage(features * 2.0**100, num_clusters)) == as_sets(found)


def turns_of(positions, clusters, ambiguous):
    """The clusters that reference turns give, in order, for as many picks."""
    members = {int(c): [i for i in ambiguous if clusters[i] == c] for c in clusters[ambiguous].unique()}
    order, left = sorted(members, key=lambda c: (len(members[c]), c)), {c: len(m) for c, m in members.items()}
    turns = []
    while len(turns) < len(positions):
        for c in order:
            if left[c]:
                turns.append(c)
                left[c] -= 1
    return turns[: len(positions)]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("query_size,factor", [(1, 10), (6, 1), (6, 2.5), (13, 3), (40, 10)])
def test_turns_of_the_clusters_of_the_most_ambiguous_points(seed, query_size, factor):
    scores = torch.rand(40, generator=generator(seed), dtype=torch.float64)
    clusters = (torch.rand(40, generator=generator(seed + 50)) ** 2 * 9).long() * 3
    ambiguous = scores.argsort(descending=True)[: int(min(40, factor * query_size))].tolist()
    found = cluster_margin_select(scores, clusters, query_size, generator(seed), factor).tolist()
    assert len(set(found)) == query_size and set(found) <= set(ambiguous)
    assert clusters[found].tolist() == turns_of(found, clusters, ambiguous)


def test_by_hand():
    # Of the six most ambiguous points, cluster 7 has one, cluster 2 two and cluster 0 three.
    scores = torch.tensor([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.1, 0.2])
    clusters = torch.tensor([0, 0, 2, 7, 2, 0, 7, 7])
    for seed in range(10):
        found = cluster_margin_select(scores, clusters, 6, generator(seed), 1)
        assert clusters[found].tolist() == [7, 2, 0, 2, 0, 0] and set(found.tolist()) == set(range(6))
    # Within a cluster chance decides.
    firsts = {int(cluster_margin_select(scores, clusters, 3, generator(s), 2)[2]) for s in range(40)}
    assert firsts == {0, 1, 5}


def test_the_class_clusters_features_and_reads_margins(fake_model):
    model = fake_model.random(60)
    function = ClusterMargin(factor=3, num_clusters=5)
    pool = function.summarize(model, torch.arange(60))
    found = function.select(pool, {}, 8, generator(4))
    clusters = average_linkage(model.feature_table, 5)
    ambiguous = pool["scores"].argsort(descending=True)[:24].tolist()
    assert set(found.positions.tolist()) <= set(ambiguous)
    assert clusters[found.positions].tolist() == turns_of(found.positions, clusters, ambiguous)
    assert torch.equal(found.scores, pool["scores"].double()[found.positions])
    # As many clusters as points are asked for.
    found = ClusterMargin().select(pool, {}, 8, generator(4)).positions
    clusters = average_linkage(model.feature_table, 8)
    assert clusters[found].tolist() == turns_of(found, clusters, list(range(60)))


@pytest.mark.parametrize("max_clustered,query_size", [(30, 4), (12, 4)])
def test_more_points_than_are_clustered(max_clustered, query_size):
    """Three far clusters: a part of the points tells them, and the rest joins the nearest."""
    g = generator(1)
    blobs = torch.arange(90) % 3
    features = 100.0 * blobs[:, None] + torch.randn(90, 2, generator=g)
    scores = torch.rand(90, generator=g)
    function = ClusterMargin(factor=5, num_clusters=3, max_clustered=max_clustered)
    found = function.select({"features": features, "scores": scores}, {}, query_size, generator(2)).positions
    ambiguous = scores.argsort(descending=True)[: 5 * query_size]
    assert set(found.tolist()) <= set(ambiguous.tolist())
    sizes = torch.bincount(blobs[ambiguous], minlength=3)
    got = sizes[blobs[found]].tolist()
    assert len(set(blobs[found[:3]].tolist())) == 3 and got[:3] == sorted(got[:3])


@pytest.mark.parametrize("kind", ["whole numbers", "all scales", "equal", "far from 0", "1e200"])
def test_other_points_join_the_nearest_by_differences_and_the_first_of_several(kind):
    points = torch.randint(-1, 2, (300, 4), generator=generator(3)).double()
    if kind == "all scales":
        points *= 10.0 ** torch.randint(-20, 20, (300, 1), generator=generator(4))
    elif kind == "equal":
        points = points[:1].repeat(300, 1)
    elif kind == "far from 0":
        points += 2.0**20
    elif kind == "1e200":
        points *= 2.0**660
    scale = safe_scale(float(points.abs().max()))
    rows, others = torch.arange(300).split([200, 100])
    squares = ((scale * (points[rows, None] - points[others])) ** 2).sum(dim=2).numpy()
    found = cluster_margin._nearest(points, scale, rows, others[distinct(points[others])])
    assert found.tolist() == (200 + squares.argmin(axis=1)).tolist()


def test_what_makes_no_sense_is_refused():
    with pytest.raises(DalError, match=r"factor: expected a number from 1, got 0\.5"):
        ClusterMargin(factor=0.5)
    with pytest.raises(DalError, match="num_clusters: expected a whole number of at least 1, got 0"):
        ClusterMargin(num_clusters=0)
    with pytest.raises(DalError, match="max_clustered: expected a whole number of at least 2, got 1"):
        ClusterMargin(max_clustered=1)
    with pytest.raises(DalError, match=r"clusters: expected shape \(4,\), as scores, got \(3,\)"):
        cluster_margin_select(torch.zeros(4), torch.zeros(3).long(), 1, generator())
    with pytest.raises(NonFiniteError, match="scores: expected finite numbers, got nan at row 0 of 1"):
        cluster_margin_select(torch.tensor([torch.nan]), torch.zeros(1).long(), 1, generator())
