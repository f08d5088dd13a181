"""Variation ratios: label points for which draws predict different classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from dal.acquisition.base import PoolModel, ScoreFunction, check_dims, check_num_draws
from dal.acquisition.search.draw_sums import VoteSums
from dal.acquisition.search.numbers import normalized_log_probs
from dal.errors import bad_value

__all__ = ["VariationRatios", "variation_ratio_scores"]


def variation_ratio_scores(log_probs: Tensor, *, votes: bool = True) -> Tensor:
    """Compute the share of draws that disagree with the majority class.

    This is the variation ratio (Freeman, 1965; arXiv:1703.02910). Each draw votes for its most probable class, as in
    Gal's thesis (2016). ``votes=False`` uses the formula of arXiv:1703.02910 instead: one minus the largest mean
    probability. Unlike votes, it distinguishes points on which all draws agree.

    Args:
        log_probs: (N, K, C) for N points, K draws of the network and C classes, any floating dtype, in nats; -inf is
            a probability of 0. Logits are accepted too.
        votes: whether draws vote; False averages their probabilities.

    Returns:
        (N,) float64 from 0 (all draws agree and, with ``votes=False``, are certain) to 1 - 1/C.

    Raises:
        DalError: the shape is not (N, K, C), or there are no draws or classes.
        NonFiniteError: a row holds NaN or +inf, or only -inf.

    >>> import torch
    >>> probs = torch.tensor([[[0.75, 0.25], [0.75, 0.25], [0.75, 0.25], [0.25, 0.75]]])
    >>> variation_ratio_scores(probs.log()), variation_ratio_scores(probs.log(), votes=False)
    (tensor([0.2500], dtype=torch.float64), tensor([0.3750], dtype=torch.float64))
    """
    check_dims("log_probs", log_probs, "N, K, C")
    if 0 in log_probs.shape[1:]:
        raise bad_value("log_probs", "at least one draw and one class", tuple(log_probs.shape))
    normalized = normalized_log_probs("log_probs", log_probs)
    if not votes:
        return 1 - normalized.exp().mean(dim=1).amax(dim=1)
    chosen = normalized.argmax(dim=2)
    return (chosen != chosen.mode(dim=1, keepdim=True).values).to(normalized.dtype).mean(dim=1)


@dataclass(frozen=True)
class VariationRatios(ScoreFunction):
    """Selects the highest ``variation_ratio_scores`` first.

    Votes cause many ties, whose order is random.

    Args:
        num_draws: Networks drawn by Monte Carlo dropout, at least 2.
        votes: Whether draws vote; false averages their probabilities.
    """

    needs_dropout: ClassVar[bool] = True

    num_draws: int = 20
    votes: bool = True

    def __post_init__(self) -> None:
        check_num_draws(self.num_draws)
        if not isinstance(self.votes, bool):
            raise bad_value("votes", "true or false", self.votes)

    def score(self, model: PoolModel, x: Tensor) -> Tensor:
        return variation_ratio_scores(model.mc_log_probs(x, self.num_draws), votes=self.votes)

    def draw_sums(self) -> VoteSums:
        return VoteSums(self.votes)
