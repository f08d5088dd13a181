"""BALD: label points on which confident networks drawn by dropout disagree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dal.acquisition.base import PoolModel, ScoreFunction, check_dims, check_num_draws
from dal.acquisition.search.draw_sums import BALDSums
from dal.acquisition.search.numbers import normalized_log_probs
from dal.errors import bad_value

__all__ = ["BALD", "bald_scores"]


def bald_scores(log_probs: Tensor) -> Tensor:
    """Compute the mutual information of each point's label and the network.

    It is the entropy of the mean prediction minus the mean entropy of the predictions (arXiv:1112.5745,
    arXiv:1703.02910). Both means are over the draws; the mean prediction averages probabilities.

    Args:
        log_probs: (N, K, C) for N points, K draws of the network and C classes, any floating dtype, in nats; -inf is
            a probability of 0. Logits are accepted too.

    Returns:
        (N,) float64 in nats, from 0 (the draws agree) to the smaller of ln K and ln C.

    Raises:
        DalError: the shape is not (N, K, C), or K is 1; a single draw cannot disagree.
        NonFiniteError: a row holds NaN or +inf, or only -inf.

    >>> opposite, unsure = [[1.0, 0.0], [0.0, 1.0]], [[0.5, 0.5], [0.5, 0.5]]
    >>> bald_scores(torch.tensor([opposite, unsure]).log())
    tensor([0.6931, 0.0000], dtype=torch.float64)
    """
    check_dims("log_probs", log_probs, "N, K, C")
    if log_probs.shape[1] < 2:
        raise bad_value("log_probs", "at least 2 draws in dimension 1", log_probs.shape[1])
    probs = normalized_log_probs("log_probs", log_probs).exp()
    entropy_of_mean: Tensor = torch.special.entr(probs.mean(dim=1)).sum(dim=1)
    mean_entropy: Tensor = torch.special.entr(probs).sum(dim=2).mean(dim=1)
    # Only rounding makes it negative.
    return (entropy_of_mean - mean_entropy).clamp(min=0)


@dataclass(frozen=True)
class BALD(ScoreFunction):
    """Selects the highest ``bald_scores`` first.

    In a large query, the points with the highest scores are similar. Using the same networks for all points increases
    this effect (benchmarks/results/shared_draws_*). ``power_bald`` and ``batchbald`` avoid it.

    Args:
        num_draws: Networks drawn by Monte Carlo dropout, at least 2.
    """

    needs_dropout: ClassVar[bool] = True

    num_draws: int = 20

    def __post_init__(self) -> None:
        check_num_draws(self.num_draws)

    def score(self, model: PoolModel, x: Tensor) -> Tensor:
        return bald_scores(model.mc_log_probs(x, self.num_draws))

    def draw_sums(self) -> BALDSums:
        return BALDSums()
