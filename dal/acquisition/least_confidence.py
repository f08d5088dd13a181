"""Least confidence: label points whose most probable class has the lowest probability."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from dal.acquisition.base import PoolModel, ScoreFunction, Summary, check_dims
from dal.acquisition.search.columns import exponentials
from dal.acquisition.search.numbers import normalized_log_probs

__all__ = ["LeastConfidence", "least_confidence_scores"]


def least_confidence_scores(logits: Tensor) -> Tensor:
    """Compute one minus the largest class probability (Lewis and Gale, arXiv:cmp-lg/9407020).

    Args:
        logits: (N, C), any floating dtype; log-probabilities are logits too. -inf is a probability of 0.

    Returns:
        (N,) float64 from 0 (certain) to 1 - 1/C (uniform).

    Raises:
        DalError: the shape is not (N, C).
        NonFiniteError: a row holds NaN or +inf, or only -inf.

    >>> import torch
    >>> least_confidence_scores(torch.tensor([[0.5, 0.5], [1.0, 0.0]]).log())
    tensor([0.5000, 0.0000], dtype=torch.float64)
    """
    check_dims("logits", logits, "N, C")
    return 1 - normalized_log_probs("logits", logits).amax(dim=1).exp()


@dataclass(frozen=True)
class LeastConfidence(ScoreFunction):
    """Selects the highest ``least_confidence_scores`` first."""

    def score(self, model: PoolModel, x: Tensor) -> Tensor:
        return least_confidence_scores(model.head(model.features(x)))

    def site_summary(self, logits: Tensor) -> Summary:
        # The largest weight is 1.
        return {"scores": 1 - 1 / exponentials(logits).total}
