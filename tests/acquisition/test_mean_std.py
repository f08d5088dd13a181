"""Mean standard deviation against NumPy, and where it is easily got wrong."""

import math

import numpy as np
import pytest
import torch

from dal.acquisition import MeanSTD, mean_std_scores
from dal.errors import DalError, NonFiniteError


def test_by_hand():
    # The second class of the last point: 1/4 and 3/4, so 1/4 off their mean; the others' spreads are 1/4 and 0.
    probs = [[[1, 0, 0], [0, 1, 0]], [[0.5, 0.5, 0]] * 2, [[0.75, 0.25, 0], [0.25, 0.75, 0]]]
    found = mean_std_scores(torch.tensor(probs, dtype=torch.float64).log())
    torch.testing.assert_close(found, torch.tensor([1 / 3, 0, 1 / 6], dtype=torch.float64), rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("num_draws", [2, 5, 20])
def test_against_the_formula_of_the_paper(num_draws):
    logits = 2 * torch.randn(30, num_draws, 9, generator=torch.Generator().manual_seed(num_draws))
    logits[3, 1, 1:] = -torch.inf
    expected = []
    for point in logits.double().numpy():
        probs = [np.exp(draw) / np.exp(draw).sum() for draw in point]
        of_classes = []
        for c in range(9):
            mean = sum(p[c] for p in probs) / num_draws
            of_classes.append(math.sqrt(sum((p[c] - mean) ** 2 for p in probs) / num_draws))
        expected.append(sum(of_classes) / 9)
    found = mean_std_scores(logits)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-11, atol=1e-14)


def test_small_spreads_keep_their_digits():
    """A mean of squares less a squared mean would have lost them."""
    spread = 1e-10
    probs = torch.tensor([[[0.5 + spread, 0.5 - spread], [0.5 - spread, 0.5 + spread]]], dtype=torch.float64)
    assert float(mean_std_scores(probs.log())) == pytest.approx(spread, rel=1e-5)


def test_what_makes_no_sense_is_refused():
    for shape in [(3, 4), (3, 1, 4), (3, 2, 0)]:
        with pytest.raises(DalError, match="log_probs: expected"):
            mean_std_scores(torch.zeros(shape))
    bad = torch.zeros(3, 2, 4)
    bad[1] = torch.nan
    with pytest.raises(NonFiniteError, match="row 1 of 3"):
        mean_std_scores(bad)
    with pytest.raises(DalError, match="num_draws: expected a whole number of at least 2"):
        MeanSTD(1)
