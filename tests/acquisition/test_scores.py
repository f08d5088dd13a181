"""The functions that score each point alone, against slow references and numbers worked out by hand."""

import math

import pytest
import torch

from dal.acquisition import BALD, bald_scores, entropy_scores, least_confidence_scores, margin_scores, top_scores
from dal.errors import DalError, NonFiniteError

FUNCTIONS = {
    "least_confidence": least_confidence_scores,
    "margin": margin_scores,
    "entropies": entropy_scores,
}
PROBS = [[0.5, 0.25, 0.25], [1.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3], [0.0, 0.5, 0.5]]
BY_HAND = {
    "least_confidence": [0.5, 0.0, 2 / 3, 0.5],
    "margin": [0.75, 0.0, 1.0, 1.0],
    "entropies": [1.5 * math.log(2), 0.0, math.log(3), math.log(2)],
}


def double(values):
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_hand_made_probabilities(name):
    found = FUNCTIONS[name](double(PROBS).log())
    torch.testing.assert_close(found, double(BY_HAND[name]), rtol=0, atol=1e-15)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("spread", [0.1, 1.0, 30.0])
def test_random_logits_against_the_reference(name, spread, references):
    logits = torch.randn(50, 7, generator=torch.Generator().manual_seed(0)) * spread + 100
    expected = torch.from_numpy(getattr(references, name)(logits.double().numpy()))
    found = FUNCTIONS[name](logits)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)
    # Log-probabilities are logits too.
    torch.testing.assert_close(FUNCTIONS[name](logits.double().log_softmax(1)), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("function", [*FUNCTIONS.values(), bald_scores])
def test_what_makes_no_sense_is_refused(function):
    shape = (3, 2, 4) if function is bald_scores else (3, 4)
    for value, row in [(float("nan"), 2), (float("inf"), 1)]:
        logits = torch.zeros(shape)
        logits[row].view(-1)[0] = value
        with pytest.raises(
            NonFiniteError, match=f"(logits|log_probs): expected finite numbers, got nan at row {row} of 3"
        ):
            function(logits)
    impossible = torch.zeros(shape)
    impossible[1] = -torch.inf
    with pytest.raises(NonFiniteError, match="row 1 of 3"):
        function(impossible)
    with pytest.raises(DalError, match=r"floating-point numbers of shape \(N, .*C\), got"):
        function(torch.zeros(4))
    with pytest.raises(DalError, match="floating-point"):
        function(torch.zeros(shape, dtype=torch.int64))


def test_margin_of_one_class_is_refused():
    with pytest.raises(DalError, match="at least 2 classes, got 1"):
        margin_scores(torch.zeros(3, 1))


def test_bald_by_hand():
    opposite = [[1.0, 0.0], [0.0, 1.0]]
    same = [[0.3, 0.7], [0.3, 0.7]]
    unsure = [[0.5, 0.5], [0.5, 0.5]]
    half = [[1.0, 0.0], [0.5, 0.5]]
    found = bald_scores(double([opposite, same, unsure, half]).log())
    # The mean of the last is (3/4, 1/4), and half of its draws have ln 2.
    last = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25)) - 0.5 * math.log(2)
    torch.testing.assert_close(found, double([math.log(2), 0, 0, last]), rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("num_draws", [2, 5, 20])
def test_bald_against_the_reference(num_draws, references):
    generator = torch.Generator().manual_seed(num_draws)
    # As many classes as draws and points would hide a wrong axis.
    log_probs = (3 * torch.randn(30, num_draws, 9, generator=generator)).double().log_softmax(dim=-1)
    log_probs[3, 1] = torch.tensor([0.0] + [-torch.inf] * 8)
    expected = torch.from_numpy(references.bald(log_probs.numpy()))
    torch.testing.assert_close(bald_scores(log_probs), expected, rtol=1e-11, atol=1e-14)
    # The draws have no order.
    shuffled = log_probs[:, torch.randperm(num_draws, generator=generator)]
    torch.testing.assert_close(bald_scores(shuffled), expected, rtol=1e-11, atol=1e-14)


def test_bald_is_never_negative_and_keeps_its_digits_in_single_precision():
    draws = torch.randn(2000, 1, 10, generator=torch.Generator().manual_seed(0)).expand(-1, 20, -1)
    scores = bald_scores(draws.log_softmax(dim=-1))
    assert float(scores.min()) >= 0
    assert float(scores.max()) < 1e-14


def test_bald_of_one_draw_is_refused():
    with pytest.raises(DalError, match="at least 2 draws"):
        bald_scores(torch.zeros(3, 1, 4))
    for num_draws in (1, 0, True, 2.0):
        with pytest.raises(DalError, match="num_draws: expected a whole number of at least 2"):
            BALD(num_draws)


def test_sure_points_are_last_not_first():
    logits = torch.tensor([[0.0, -torch.inf], [1.0, 0.0], [0.0, 0.1], [200.0, 0.0]])
    for function in FUNCTIONS.values():
        positions = top_scores(function(logits), 4, torch.Generator().manual_seed(0)).positions
        assert positions[:2].tolist() == [2, 1]


def test_ties_come_in_every_order():
    orders = {
        tuple(top_scores(torch.zeros(3), 3, torch.Generator().manual_seed(seed)).positions.tolist())
        for seed in range(100)
    }
    assert len(orders) == 6
