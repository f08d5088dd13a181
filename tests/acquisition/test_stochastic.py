"""Stochastic batches: the probabilities of ordered draws without replacement, as the paper has them."""

import itertools
import math
from collections import Counter

import pytest
import torch
from scipy.stats import chisquare

from dal.acquisition import BALD, Margin, PowerBALD, Stochastic, bald_scores, stochastic_select
from dal.errors import DalError, NonFiniteError

SCORES = [0.5, 0.1, 1.2, 0.3]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def weights(kind, beta):
    """Unnormalized probabilities of the first pick."""
    if kind == "power":
        return [s**beta for s in SCORES]
    if kind == "softmax":
        return [math.exp(beta * s) for s in SCORES]
    ranks = [1 + sum(other > s for other in SCORES) for s in SCORES]
    return [rank**-beta for rank in ranks]


@pytest.mark.parametrize(("kind", "beta"), [("power", 1.0), ("power", 2.5), ("softmax", 1.5), ("softrank", 1.0)])
def test_orders_are_as_probable_as_drawing_one_after_the_other_makes_them(kind, beta):
    w = weights(kind, beta)
    expected = {
        (i, j): w[i] / sum(w) * w[j] / (sum(w) - w[i]) for i, j in itertools.permutations(range(len(SCORES)), 2)
    }
    g, scores, num_draws = generator(1), torch.tensor(SCORES), 4000
    found = Counter(
        tuple(stochastic_select(scores, 2, g, kind=kind, beta=beta).positions.tolist()) for _ in range(num_draws)
    )
    assert set(found) <= set(expected)
    counts = [found[order] for order in expected]
    assert chisquare(counts, [p * num_draws for p in expected.values()]).pvalue > 1e-3
    # The test has power: uniform draws would not pass.
    assert chisquare(counts, [num_draws / len(expected)] * len(expected)).pvalue < 1e-6


def test_reported_scores_are_those_of_the_points():
    scores = torch.tensor(SCORES)
    for kind in ("power", "softmax", "softrank"):
        found = stochastic_select(scores, 4, generator(), kind=kind)
        assert sorted(found.positions.tolist()) == [0, 1, 2, 3]
        assert torch.equal(found.scores, scores.double()[found.positions])


def test_power_takes_scores_of_zero_and_below_last_in_random_order():
    scores = torch.tensor([0.0, 1e-300, -1.0, 2.0, 0.0, -0.0], dtype=torch.float64)
    orders = set()
    for seed in range(60):
        positions, of_points = stochastic_select(scores, 6, generator(seed))
        assert positions[:2].tolist() == [3, 1]
        assert bool(torch.isfinite(of_points).all()) and sorted(positions.tolist()) == list(range(6))
        orders.add(tuple(positions[2:].tolist()))
    assert len(orders) > 18
    firsts = Counter(int(stochastic_select(torch.zeros(4), 1, g).positions) for g in [generator()] for _ in range(2000))
    assert chisquare([firsts[i] for i in range(4)]).pvalue > 1e-3


def test_equal_scores_have_their_ranks_at_random():
    g = generator()
    firsts = Counter(
        int(stochastic_select(torch.ones(4), 1, g, kind="softrank", beta=3.0).positions) for _ in range(2000)
    )
    assert chisquare([firsts[i] for i in range(4)]).pvalue > 1e-3


@pytest.mark.parametrize("kind", ["power", "softmax", "softrank"])
def test_large_beta_takes_the_highest_and_small_beta_anything(kind):
    scores = torch.tensor(SCORES)
    assert stochastic_select(scores, 4, generator(), kind=kind, beta=1e6).positions.tolist() == [2, 0, 3, 1]
    g = generator()
    firsts = Counter(int(stochastic_select(scores, 1, g, kind=kind, beta=1e-6).positions) for _ in range(2000))
    assert chisquare([firsts[i] for i in range(4)]).pvalue > 1e-3


def test_softmax_of_scores_far_from_zero_keeps_its_noise():
    g = generator()
    far = torch.tensor([1e17, 1e17], dtype=torch.float64)
    firsts = Counter(int(stochastic_select(far, 1, g, kind="softmax").positions) for _ in range(1000))
    assert chisquare([firsts[0], firsts[1]]).pvalue > 1e-3


def test_scores_of_any_function_and_its_need_of_dropout(fake_model):
    model, x = fake_model.random(30), torch.arange(30)
    assert torch.equal(Stochastic("margin").summarize(model, x)["scores"], Margin().score(model, x))
    few_draws = fake_model.random(30, num_draws=7)
    found = Stochastic("bald", num_draws=7).summarize(few_draws, x)["scores"]
    assert torch.equal(found, bald_scores(few_draws.draw_table))
    assert not Stochastic("entropy").needs_dropout
    assert all(Stochastic(name).needs_dropout for name in ("bald", "mean_std", "variation_ratios"))


def test_the_score_function_is_made_once(monkeypatch):
    function = Stochastic("bald", num_draws=7)
    monkeypatch.delattr("dal.acquisition.stochastic.registry")
    assert function.score_function is function.score_function == BALD(num_draws=7)


def test_power_bald_is_the_power_function_over_bald(fake_model):
    model, x = fake_model.random(30, num_draws=7), torch.arange(30)
    named, general = PowerBALD(num_draws=7, beta=4.0), Stochastic("bald", "power", 4.0, 7)
    assert repr(named) == "PowerBALD(beta=4.0, num_draws=7)" and named.needs_dropout
    pool = named.summarize(model, x)
    assert torch.equal(pool["scores"], general.summarize(model, x)["scores"])
    for seed in range(5):
        first, second = (f.select(pool, {}, 10, generator(seed)) for f in (named, general))
        assert torch.equal(first.positions, second.positions) and torch.equal(first.scores, second.scores)
    with pytest.raises(DalError, match="num_draws: expected"):
        PowerBALD(num_draws=1)
    with pytest.raises(DalError, match="beta: expected a finite number above 0"):
        PowerBALD(beta=0)


def test_what_makes_no_sense_is_refused():
    for beta in (0, -1.0, math.inf, math.nan, True, "1"):
        with pytest.raises(DalError, match="beta: expected a finite number above 0"):
            stochastic_select(torch.ones(3), 1, generator(), beta=beta)
        with pytest.raises(DalError, match="beta: expected"):
            Stochastic(beta=beta)
    with pytest.raises(DalError, match=r"kind: expected one of .* \(did you mean softmax\?\)"):
        Stochastic(kind="softmx")
    with pytest.raises(DalError, match=r"score: expected one of .* \(did you mean margin\?\)"):
        Stochastic(score="margn")
    for name in ("badge", "random", "stochastic"):
        with pytest.raises(DalError, match="score: expected one of"):
            Stochastic(score=name)
    with pytest.raises(DalError, match="num_draws"):
        Stochastic("bald", num_draws=1)
    with pytest.raises(NonFiniteError, match=r"scores: .* row 1 of 2"):
        stochastic_select(torch.tensor([0.0, math.nan]), 1, generator())
    with pytest.raises(DalError, match=r"scores: .*\(N\)"):
        stochastic_select(torch.ones(3, 1), 1, generator())
    with pytest.raises(DalError, match="query_size"):
        stochastic_select(torch.ones(3), 4, generator())
