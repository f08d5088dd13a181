"""Variation ratios against counted votes."""

from collections import Counter

import pytest
import torch

from dal.acquisition import VariationRatios, variation_ratio_scores
from dal.errors import DalError, NonFiniteError


def drawn(num_draws):
    generator = torch.Generator().manual_seed(num_draws)
    common = torch.randn(40, 1, 6, generator=generator)
    return common + torch.randn(40, num_draws, 6, generator=generator)


def test_by_hand():
    votes = torch.tensor([[0, 0, 0, 1], [1, 1, 1, 1], [0, 1, 2, 2]])
    log_probs = torch.nn.functional.one_hot(votes, 3).double().log()
    assert variation_ratio_scores(log_probs).tolist() == [0.25, 0.0, 0.5]
    assert variation_ratio_scores(log_probs, votes=False).tolist() == [0.25, 0.0, 0.5]
    weak, strong = [[0.6, 0.4], [0.6, 0.4]], [[0.9, 0.1], [0.9, 0.1]]
    agreed = torch.tensor([weak, strong], dtype=torch.float64).log()
    assert variation_ratio_scores(agreed).tolist() == [0, 0]
    assert variation_ratio_scores(agreed, votes=False).tolist() == pytest.approx([0.4, 0.1], rel=1e-14)


@pytest.mark.parametrize("num_draws", [1, 2, 5, 20])
def test_against_counted_votes_and_averaged_probabilities(num_draws):
    logits = drawn(num_draws)
    voted, averaged = [], []
    for point in logits.double().numpy():
        voted.append(1 - Counter(draw.argmax() for draw in point).most_common(1)[0][1] / num_draws)
        probs = sum(torch.tensor(draw).exp() / torch.tensor(draw).exp().sum() for draw in point) / num_draws
        averaged.append(1 - float(probs.max()))
    for votes, expected in [(True, voted), (False, averaged)]:
        found = variation_ratio_scores(logits, votes=votes)
        assert found.dtype == torch.float64
        torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-14)


def test_function_takes_its_parameters(fake_model):
    model, x = fake_model.random(30, num_draws=3), torch.arange(30)
    for votes in (True, False):
        expected = variation_ratio_scores(model.draw_table, votes=votes)
        assert torch.equal(VariationRatios(3, votes).score(model, x), expected)


def test_what_makes_no_sense_is_refused():
    for shape in [(3, 4), (3, 0, 4), (3, 2, 0)]:
        with pytest.raises(DalError, match="log_probs: expected"):
            variation_ratio_scores(torch.zeros(shape))
    bad = torch.zeros(3, 2, 4)
    bad[1] = torch.nan
    with pytest.raises(NonFiniteError, match="row 1 of 3"):
        variation_ratio_scores(bad)
    with pytest.raises(DalError, match="num_draws: expected a whole number of at least 2"):
        VariationRatios(1)
    with pytest.raises(DalError, match="votes: expected true or false"):
        VariationRatios(votes=1)
