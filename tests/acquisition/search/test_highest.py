"""The highest values without a sort of all."""

import numpy as np
import pytest
import torch

from dal.acquisition.base import top_scores
from dal.acquisition.search.highest import highest
from dal.acquisition.stochastic import stochastic_select
from dal.acquisition.stratified import stratified_select


@pytest.mark.parametrize("count", [1, 5, 60, 400, 500])
def test_the_highest_are_the_start_of_a_stable_sort(count):
    values = (torch.rand(500, generator=torch.Generator().manual_seed(0)) * 40).round()
    expected = np.argsort(-values.numpy(), kind="stable")[:count]
    assert highest(values, count).tolist() == expected.tolist()


def test_nan_comes_first_as_in_a_sort():
    values = torch.arange(100.0)
    values[30] = torch.nan
    assert highest(values, 2).tolist() == [30, 99]


@pytest.mark.parametrize("kind", ["power", "softmax", "softrank"])
def test_a_short_query_is_the_start_of_all_points(kind):
    g = torch.Generator().manual_seed(0)
    scores = (torch.rand(400, generator=g) * 10).round() / 10 - 0.3
    predicted = torch.randint(0, 3, (400,), generator=g)
    predicted[17] = 9

    def drawn(count):
        new = lambda: torch.Generator().manual_seed(5)  # noqa: E731
        return [
            found.positions.tolist()
            for found in (
                top_scores(scores, count, new()),
                stochastic_select(scores, count, new(), kind=kind),
                stratified_select(scores, predicted, count, new(), kind=kind),
            )
        ]

    everything = drawn(400)
    for count in (1, 12, 49):
        assert drawn(count) == [positions[:count] for positions in everything]
    assert all(sorted(positions) == list(range(400)) for positions in everything)
