"""Running sums over draws, so that the draws of many sites never exist at once."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from dal.acquisition.search.numbers import check_finite, in_double

_LEAST = -800.0
"""A log-probability whose probability is 0 in float64. Unlike -inf, it has a product with 0."""


class DrawSums(ABC):
    """Sums over the draws of N points with C classes, from which a function computes its scores.

    add() takes one draw after the other. The sums are float64.
    """

    def __init__(self) -> None:
        self.num_draws = 0

    def add(self, logits: Tensor) -> None:
        """Add the (N, C) logits of a draw, any floating dtype. Log-probabilities are logits too.

        Raises NonFiniteError if a row holds NaN or +inf, or only -inf.
        """
        shifted = in_double(logits)
        shifted = (shifted - shifted.amax(dim=1, keepdim=True)).clamp_(min=_LEAST)
        weights = shifted.exp()
        total = weights.sum(dim=1, keepdim=True)
        check_finite("logits", total)
        self.num_draws += 1
        self._add(weights, total, shifted)

    @abstractmethod
    def _add(self, weights: Tensor, total: Tensor, shifted: Tensor) -> None:
        """Add a draw, whose probabilities are weights / total = exp(shifted) / total."""

    @abstractmethod
    def scores(self) -> Tensor:
        """Return (N,) float64 scores of the draws so far."""

    def summary(self) -> dict[str, Tensor]:
        """Return the summary of the draws so far."""
        return {"scores": self.scores()}


class BALDSums(DrawSums):
    """Sums of probabilities and of entropies, for ``bald_scores``.

    >>> sums = BALDSums()
    >>> sums.add(torch.tensor([[1.0, 0.0]]).log())
    >>> sums.add(torch.tensor([[0.0, 1.0]]).log())
    >>> sums.scores()
    tensor([0.6931], dtype=torch.float64)
    """

    _probs: Tensor
    _entropy: Tensor

    def _add(self, weights: Tensor, total: Tensor, shifted: Tensor) -> None:
        # A logarithm for each row instead of one for each probability.
        entropy = total.log() - shifted.mul_(weights).sum(dim=1, keepdim=True) / total
        if self.num_draws == 1:
            self._probs, self._entropy = weights.div_(total), entropy
        else:
            self._probs.addcdiv_(weights, total)
            self._entropy += entropy

    def scores(self) -> Tensor:
        of_mean: Tensor = torch.special.entr(self._probs / self.num_draws).sum(dim=1)
        return (of_mean - self._entropy[:, 0] / self.num_draws).clamp(min=0)


class MeanSTDSums(DrawSums):
    """Means and squared deviations of probabilities, for ``mean_std_scores``."""

    _mean: Tensor
    _squares: Tensor

    def _add(self, weights: Tensor, total: Tensor, shifted: Tensor) -> None:
        probs = weights.div_(total)
        if self.num_draws == 1:
            self._mean, self._squares = probs, torch.zeros_like(probs)
            return
        # Welford's update. A sum of squares minus a squared mean would lose small deviations to cancellation.
        change = probs - self._mean
        self._mean += change / self.num_draws
        self._squares.addcmul_(change, probs - self._mean)

    def scores(self) -> Tensor:
        return (self._squares / self.num_draws).sqrt().mean(dim=1)


class VoteSums(DrawSums):
    """Votes for classes, or sums of probabilities, for ``variation_ratio_scores``."""

    _sums: Tensor

    def __init__(self, votes: bool) -> None:
        super().__init__()
        self.votes = votes

    def _add(self, weights: Tensor, total: Tensor, shifted: Tensor) -> None:
        if self.votes:
            added = torch.zeros_like(weights).scatter_(1, shifted.argmax(dim=1, keepdim=True), 1)
        else:
            added = weights.div_(total)
        self._sums = added if self.num_draws == 1 else self._sums.add_(added)

    def scores(self) -> Tensor:
        return 1 - self._sums.amax(dim=1) / self.num_draws


class PredictedSums(DrawSums):
    """Sums of another kind, with the class of the highest mean probability as ``predicted``."""

    _probs: Tensor

    def __init__(self, sums: DrawSums) -> None:
        super().__init__()
        self._sums = sums

    def _add(self, weights: Tensor, total: Tensor, shifted: Tensor) -> None:
        probs = weights / total
        self._probs = probs if self.num_draws == 1 else self._probs.add_(probs)
        self._sums.num_draws = self.num_draws
        self._sums._add(weights, total, shifted)  # may change its arguments

    def scores(self) -> Tensor:
        return self._sums.scores()

    def summary(self) -> dict[str, Tensor]:
        return {"scores": self.scores(), "predicted": self._probs.argmax(dim=1)}
