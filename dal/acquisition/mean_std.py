"""Mean standard deviation: label points whose probabilities vary most across draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from dal.acquisition.base import PoolModel, ScoreFunction, check_dims, check_num_draws
from dal.acquisition.search.draw_sums import MeanSTDSums
from dal.acquisition.search.numbers import normalized_log_probs
from dal.errors import bad_value

__all__ = ["MeanSTD", "mean_std_scores"]


def mean_std_scores(log_probs: Tensor) -> Tensor:
    """Compute the standard deviation of class probabilities across draws, averaged over classes.

    See Kampffmeyer et al. (2016) and arXiv:1703.02910. The variance divides by K, not by K - 1.

    Args:
        log_probs: (N, K, C) for N points, K draws of the network and C classes, any floating dtype, in nats; -inf is
            a probability of 0. Logits are accepted too.

    Returns:
        (N,) float64 from 0 (the draws agree) to 1/2 (two classes, each certain in half of the draws).

    Raises:
        DalError: the shape is not (N, K, C), K is 1, or there are no classes.
        NonFiniteError: a row holds NaN or +inf, or only -inf.

    >>> import torch
    >>> opposite, unsure = [[1.0, 0.0], [0.0, 1.0]], [[0.5, 0.5], [0.5, 0.5]]
    >>> mean_std_scores(torch.tensor([opposite, unsure]).log())
    tensor([0.5000, 0.0000], dtype=torch.float64)
    """
    check_dims("log_probs", log_probs, "N, K, C")
    if log_probs.shape[1] < 2:
        raise bad_value("log_probs", "at least 2 draws in dimension 1", log_probs.shape[1])
    if log_probs.shape[2] < 1:
        raise bad_value("log_probs", "at least one class in dimension 2", log_probs.shape[2])
    probs = normalized_log_probs("log_probs", log_probs).exp()
    # The mean of the squares minus the squared mean would lose small deviations to cancellation.
    return (probs - probs.mean(dim=1, keepdim=True)).square().mean(dim=1).sqrt().mean(dim=1)


@dataclass(frozen=True)
class MeanSTD(ScoreFunction):
    """Selects the highest ``mean_std_scores`` first.

    Args:
        num_draws: Networks drawn by Monte Carlo dropout, at least 2.
    """

    needs_dropout: ClassVar[bool] = True

    num_draws: int = 20

    def __post_init__(self) -> None:
        check_num_draws(self.num_draws)

    def score(self, model: PoolModel, x: Tensor) -> Tensor:
        return mean_std_scores(model.mc_log_probs(x, self.num_draws))

    def draw_sums(self) -> MeanSTDSums:
        return MeanSTDSums()
