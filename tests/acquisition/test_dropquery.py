"""DropQuery: which points count as inconsistent, by hand; and k-means among them alone."""

import numpy as np
import pytest
import torch

from dal.acquisition import DropQuery, drop_query_select, feature_masks, k_means_select
from dal.errors import DalError, NonFiniteError


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_masks_drop_at_the_rate_and_keep_the_mean():
    masks = feature_masks(40, 500, 0.75)
    assert masks.unique().tolist() == [0.0, 4.0]
    assert float((masks == 0).double().mean()) == pytest.approx(0.75, abs=0.01)
    assert len(masks.unique(dim=0)) == 40
    # A draw is the same network whatever is drawn beside it.
    assert torch.equal(feature_masks(3, 7, 0.5), feature_masks(3, 7, 0.5))
    assert feature_masks(2, 5, 0.0).unique().tolist() == [1.0]


@pytest.mark.parametrize("rate", [0.25, 0.75])
def test_disagreements_are_those_of_an_obvious_loop(rate, fake_model):
    model = fake_model.random(50, num_classes=5, num_features=8)
    summary = DropQuery(num_draws=7, rate=rate).summarize(model, torch.arange(50))
    masks = feature_masks(7, 8, rate).numpy()
    x, head = model.feature_table.double().numpy(), model.head_matrix.double().numpy()
    expected = []
    for row in x:
        plain = np.argmax(row @ head)
        expected.append(sum(np.argmax((row * mask) @ head) != plain for mask in masks))
    assert summary["disagreements"].tolist() == expected and 0 < sum(expected) < 7 * 50
    assert torch.equal(summary["features"], model.feature_table)


def test_the_pool_s_order_and_batches_change_no_draw(fake_model):
    model, function = fake_model.random(50), DropQuery()
    whole = function.summarize(model, torch.arange(50))["disagreements"]
    order = torch.randperm(50, generator=generator())
    assert torch.equal(torch.cat([function.summarize(model, x)["disagreements"] for x in order.split(7)]), whole[order])


@pytest.mark.parametrize("num_draws,least", [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)])
def test_candidates_are_those_of_more_than_half_of_the_draws(num_draws, least):
    features = torch.randn(60, 4, generator=generator(1))
    counts = torch.arange(60) % (num_draws + 1)
    found = DropQuery(num_draws=num_draws).select(
        {"features": features, "disagreements": counts.float()}, {}, 5, generator(2)
    )
    candidates = (counts >= least).nonzero().flatten()
    assert torch.equal(found.positions, candidates[k_means_select(features[candidates], 5, generator(2))])
    assert torch.equal(found.scores, counts[found.positions].double())


def test_too_few_candidates_are_joined_by_those_of_one_draw_fewer():
    features = torch.randn(12, 4, generator=generator(1))
    counts = torch.tensor([3, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0])
    assert set(drop_query_select(features, counts, 2, generator()).tolist()) == {0, 1}
    assert set(drop_query_select(features, counts, 4, generator()).tolist()) == {0, 1, 2, 3}
    three = set(drop_query_select(features, counts, 3, generator()).tolist())
    assert three <= {0, 1, 2, 3} and len(three) == 3
    assert set(drop_query_select(features, counts, 12, generator()).tolist()) == set(range(12))


def test_what_makes_no_sense_is_refused():
    with pytest.raises(DalError, match="rate: expected a probability from 0 to below 1, got 1"):
        DropQuery(rate=1)
    with pytest.raises(DalError, match="num_draws: expected a whole number of at least 1, got 0"):
        DropQuery(num_draws=0)
    with pytest.raises(DalError, match=r"disagreements: expected shape \(4,\), as features, got \(3,\)"):
        drop_query_select(torch.zeros(4, 2), torch.zeros(3), 1, generator())
    with pytest.raises(NonFiniteError, match="disagreements: expected finite numbers, got nan at row 0 of 1"):
        drop_query_select(torch.zeros(1, 2), torch.tensor([torch.nan]), 1, generator())
