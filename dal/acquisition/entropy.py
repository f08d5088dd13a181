"""Entropy: label points whose predicted class distribution has the highest entropy."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dal.acquisition.base import PoolModel, ScoreFunction, Summary, check_dims
from dal.acquisition.search.columns import entropies, exponentials
from dal.acquisition.search.numbers import in_double, normalized_log_probs

__all__ = ["Entropy", "entropy_scores"]


def entropy_scores(logits: Tensor) -> Tensor:
    """Compute the entropy of class probabilities (Shannon, 1948; Settles, 2009).

    Args:
        logits: (N, C), any floating dtype; log-probabilities are logits too. -inf is a probability of 0, and
            0 · log 0 is 0.

    Returns:
        (N,) float64 in nats, from 0 (certain) to ln C (uniform).

    Raises:
        DalError: the shape is not (N, C).
        NonFiniteError: a row holds NaN or +inf, or only -inf.

    >>> entropy_scores(torch.tensor([[0.5, 0.5], [1.0, 0.0]]).log())
    tensor([0.6931, 0.0000], dtype=torch.float64)
    """
    check_dims("logits", logits, "N, C")
    probs = normalized_log_probs("logits", logits).exp()
    entropies: Tensor = torch.special.entr(probs).sum(dim=1)
    return entropies


@dataclass(frozen=True)
class Entropy(ScoreFunction):
    """Selects the highest ``entropy_scores`` first."""

    def score(self, model: PoolModel, x: Tensor) -> Tensor:
        return entropy_scores(model.head(model.features(x)))

    def site_summary(self, logits: Tensor) -> Summary:
        # Float32 suffices, because no difference of entropies follows.
        return {"scores": in_double(entropies(exponentials(logits, torch.float32)))}
