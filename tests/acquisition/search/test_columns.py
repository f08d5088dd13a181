"""Scores of sites in columns, against float64 formulas on rows."""

import numpy as np
import pytest
import torch

from dal.acquisition import Entropy, LeastConfidence, Margin, RandomForeground, Stochastic, Stratified
from dal.acquisition.bald import BALD, bald_scores
from dal.acquisition.mean_std import MeanSTD, mean_std_scores
from dal.acquisition.search.columns import classes
from dal.acquisition.variation_ratios import VariationRatios, variation_ratio_scores

G = torch.Generator().manual_seed(0)
# Uniform, usual and certain pixels, and one with a probability of 0.
LOGITS = torch.randn(21, 3000, generator=G) * torch.linspace(0, 40, 3000)
LOGITS[3, 7] = -torch.inf


def probabilities():
    logits = LOGITS.double().numpy()
    weights = np.exp(logits - logits.max(axis=0))
    return weights / weights.sum(axis=0)


def expected(name):
    probs = probabilities()
    first, second = np.sort(probs, axis=0)[::-1][:2]
    with np.errstate(divide="ignore", invalid="ignore"):
        entropies = -np.where(probs > 0, probs * np.log(probs), 0).sum(axis=0)
    return {"entropy": entropies, "margin": 1 - (first - second), "least_confidence": 1 - first}[name]


@pytest.mark.parametrize("function", [Entropy(), Margin(), LeastConfidence()])
def test_scores_of_columns_are_those_of_the_formula(function):
    found = function.site_summary(LOGITS)["scores"]
    np.testing.assert_allclose(found.double().numpy(), expected(function.name), rtol=1e-6, atol=5e-7)
    again = Stochastic(score=function.name).site_summary(LOGITS)["scores"]
    assert torch.equal(found, again)


def test_classes_are_those_of_argmax_and_of_several_the_first():
    logits = LOGITS.round()
    found = Stratified(score="entropy").site_summary(logits)["predicted"]
    assert np.array_equal(found.numpy(), logits.numpy().argmax(axis=0)) and found.dtype == torch.int64
    assert torch.equal(RandomForeground().site_summary(logits)["foreground"], (found != 0).float())
    assert int((logits == logits.amax(dim=0)).sum()) > logits.shape[1], "no ties"
    assert torch.equal(classes(logits - logits.amax(dim=0)), found)


@pytest.mark.parametrize(
    "function, scores",
    [
        (BALD(20), bald_scores),
        (MeanSTD(20), mean_std_scores),
        (VariationRatios(20), variation_ratio_scores),
        (VariationRatios(20, votes=False), lambda draws: variation_ratio_scores(draws, votes=False)),
    ],
)
@pytest.mark.parametrize("spread", [0.01, 1.0, 20.0])
def test_sums_of_float32_draws_are_the_scores_of_float64_rows(function, scores, spread):
    g = torch.Generator().manual_seed(1)
    draws = LOGITS[:, ::3] + spread * torch.randn(20, 21, 1000, generator=g)
    sums = function.draw_sums()
    for draw in draws:
        sums.add(draw)
    found = sums.summary()["scores"]
    torch.testing.assert_close(found, scores(draws.double().permute(2, 0, 1)), rtol=0, atol=1e-7)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("function", [Entropy(), Margin(), RandomForeground(), BALD(2), VariationRatios(2)])
def test_a_pixel_whose_logits_are_not_finite_has_no_score(function, bad):
    logits = LOGITS[:, :10].clone()
    logits[5, 4] = bad
    if sums := function.draw_sums():
        sums.add(logits)
        sums.add(LOGITS[:, :10])
    summary = sums.summary() if sums else function.site_summary(logits)
    (found,) = summary.values()
    assert found.isnan().nonzero().flatten().tolist() == [4]
