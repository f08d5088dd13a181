"""Margin: label points whose two most probable classes are closest."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from dal.acquisition.base import PoolModel, ScoreFunction, Summary, check_dims
from dal.acquisition.search.columns import exponentials, margins
from dal.acquisition.search.numbers import normalized_log_probs
from dal.errors import bad_value

__all__ = ["Margin", "margin_scores"]


def margin_scores(logits: Tensor) -> Tensor:
    """Compute one minus the gap between the two largest class probabilities.

    The gap (Scheffer et al., 2001) is small for ambiguous points. Subtracting it from 1 makes the highest score the
    most worth labeling, as in all functions here.

    Args:
        logits: (N, C), C at least 2, any floating dtype; log-probabilities are logits too. -inf is a probability of 0.

    Returns:
        (N,) float64 from 0 (certain) to 1 (a tie).

    Raises:
        DalError: the shape is not (N, C), or C is 1.
        NonFiniteError: a row holds NaN or +inf, or only -inf.

    >>> import torch
    >>> margin_scores(torch.tensor([[0.4, 0.4, 0.2], [0.75, 0.25, 0.0]]).log())
    tensor([1.0000, 0.5000], dtype=torch.float64)
    """
    check_dims("logits", logits, "N, C")
    if logits.shape[1] < 2:
        raise bad_value("logits", "at least 2 classes", logits.shape[1])
    first, second = normalized_log_probs("logits", logits).topk(2, dim=1).values.exp().unbind(dim=1)
    return 1 - (first - second)


@dataclass(frozen=True)
class Margin(ScoreFunction):
    """Selects the highest ``margin_scores``, of the most ambiguous points, first."""

    def score(self, model: PoolModel, x: Tensor) -> Tensor:
        return margin_scores(model.head(model.features(x)))

    def site_summary(self, logits: Tensor) -> Summary | None:
        return {"scores": 1 - margins(exponentials(logits))} if len(logits) > 1 else None
