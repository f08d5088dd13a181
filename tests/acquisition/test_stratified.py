from collections import Counter

import pytest
import torch

from dal.acquisition import Stratified, stochastic_select, stratified_select
from dal.errors import DalError

# Class 0 has most points and the highest scores.
SCORES = torch.tensor([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
PREDICTED = torch.tensor([0, 0, 0, 0, 0, 7, 0, 3, 3])
SHARP = 10.0**6


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def chosen(query_size, **options):
    return stratified_select(SCORES, PREDICTED, query_size, generator(), **({"beta": SHARP} | options))


def test_two_thirds_of_a_sharp_query_take_the_classes_in_turn():
    # The best of classes 0 and 7, then the best point left; the best of class 3, and its second; and so on.
    assert chosen(9).positions.tolist() == [0, 5, 1, 7, 8, 2, 3, 4, 6]


@pytest.mark.parametrize("strata", [0.0, 0.25, 2 / 3, 1.0])
def test_a_shorter_query_is_the_start_of_a_longer_one(strata):
    whole = chosen(9, strata=strata, beta=1.0).positions.tolist()
    assert sorted(whole) == list(range(9))
    assert [chosen(size, strata=strata, beta=1.0).positions.tolist() for size in range(1, 10)] == [
        whole[:size] for size in range(1, 10)
    ]


@pytest.mark.parametrize(("strata", "counts"), [(0.0, {0: 6}), (1.0, {0: 3, 3: 2, 7: 1}), (0.5, {0: 4, 3: 1, 7: 1})])
def test_the_share_decides_how_many_rare_classes_are_taken(strata, counts):
    scores = torch.tensor([0.9, 0.8, 0.7, 0.6, 0.5, 0.1, 0.45, 0.2, 0.15])
    found = stratified_select(scores, PREDICTED, 6, generator(), strata=strata, beta=SHARP)
    assert Counter(PREDICTED[found.positions].tolist()) == counts


def test_without_strata_it_is_the_stochastic_function():
    one = stratified_select(SCORES, PREDICTED, 5, generator(), strata=0.0, beta=1.0)
    other = stochastic_select(SCORES, 5, generator(), beta=1.0)
    assert torch.equal(one.positions, other.positions) and torch.equal(one.scores, other.scores)


def test_the_scores_are_those_of_the_points_without_noise():
    found = chosen(4, beta=1.0)
    assert torch.equal(found.scores, SCORES.double()[found.positions])


def test_the_noise_decays_with_the_rounds():
    function = Stratified(beta=0.5, beta_growth=2.0)
    assert [function.at_round(round).beta for round in (0, 1, 3)] == [0.5, 1.0, 4.0]
    assert function.at_round(10_000).beta == 10.0**6
    pool = {"scores": SCORES, "predicted": PREDICTED}
    early, late = (
        sum(function.at_round(round).select(pool, {}, 3, generator(seed)).scores.sum() for seed in range(20))
        for round in (0, 9)
    )
    assert late > early


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strata": 1.5}, "strata: expected a share from 0 to 1, got 1.5."),
        ({"beta_growth": 0.5}, "beta_growth: expected a number from 1, got 0.5."),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(DalError) as error:
        Stratified(**options)
    assert str(error.value) == message


@pytest.mark.parametrize(("score", "passes"), [("entropy", 1), ("bald", 0)])
def test_predictions_need_no_second_pass(score, passes):
    class Canned:
        count = 0

        def features(self, x):
            self.count += 1
            return x

        def head(self, features):
            return features

        def mc_log_probs(self, x, num_draws):
            return x.log_softmax(dim=1)[:, None].repeat(1, num_draws, 1)

    model = Canned()
    summary = Stratified(score=score).summarize(model, torch.tensor([[0.0, 2.0], [3.0, 1.0]]))
    assert summary["predicted"].tolist() == [1, 0] and model.count == passes


def test_predictions_that_do_not_fit_the_scores_are_refused():
    with pytest.raises(DalError, match=r"predicted: expected class numbers of shape \(9,\), got"):
        stratified_select(SCORES, PREDICTED[:3], 2, generator())
