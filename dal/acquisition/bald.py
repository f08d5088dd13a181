"""BALD: label points on which confident networks drawn by dropout disagree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dal.acquisition.base import PoolModel, ScoreFunction, check_dims, check_num_draws
from dal.acquisition.search.numbers import normalized_log_probs
from dal.errors import bad_value

__all__ = ["BALD", "bald_scores"]


def bald_scores(log_probs: Tensor) -> Tensor:
    """The mutual information of a point's label and the network (arXiv:1112.5745, arXiv:1703.02910).

    It is the entropy of the mean prediction minus the mean entropy of the predictions, where the mean goes over the
    draws and is one of probabilities.

    Args:
        log_probs: (N, K, C) for N points, K draws of the network and C classes, any floating dtype, in nats; -inf is
            a probability of 0. Logits may be given too.

    Returns:
        (N,) float64 in nats, from 0 (the draws agree) to the smaller of ln K and ln C.

    Raises:
        DalError: the shape is not (N, K, C), or K is 1: one draw cannot disagree.
        NonFiniteError: a row holds NaN or +inf, or nothing but -inf.

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
    # Never negative but for rounding.
    return (entropy_of_mean - mean_entropy).clamp(min=0)


@dataclass(frozen=True)
class BALD(ScoreFunction):
    """Highest ``bald_scores`` first.

    The highest scores of many points at once lie close together, the more so as the networks are the same for all
    points (benchmarks/results/shared_draws_*): ``power_bald`` and ``batchbald`` are the remedies.

    Args:
        num_draws: Networks drawn by Monte Carlo dropout, at least 2.
    """

    needs_dropout: ClassVar[bool] = True

    num_draws: int = 20

    def __post_init__(self) -> None:
        check_num_draws(self.num_draws)

    def score(self, model: PoolModel, x: Tensor) -> Tensor:
        return bald_scores(model.mc_log_probs(x, self.num_draws))
