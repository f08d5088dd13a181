"""Running sums over draws, so that the draws of many sites never exist at once."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from dal.acquisition.search.numbers import normalized_log_probs


class DrawSums(ABC):
    """Sums over the draws of N points with C classes, from which a function computes its scores.

    add() takes one draw after the other. The sums are float64.
    """

    def __init__(self) -> None:
        self.num_draws = 0

    def add(self, log_probs: Tensor) -> None:
        """Add the (N, C) log-probabilities of a draw, in nats. Logits are accepted too."""
        self.num_draws += 1
        self._add(normalized_log_probs("log_probs", log_probs))

    @abstractmethod
    def _add(self, log_probs: Tensor) -> None: ...

    @abstractmethod
    def scores(self) -> Tensor:
        """Return (N,) float64 scores of the draws so far."""


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

    def _add(self, log_probs: Tensor) -> None:
        probs = log_probs.exp_()
        entropy: Tensor = torch.special.entr(probs).sum(dim=1)
        if self.num_draws == 1:
            self._probs, self._entropy = probs, entropy
        else:
            self._probs += probs
            self._entropy += entropy

    def scores(self) -> Tensor:
        of_mean: Tensor = torch.special.entr(self._probs / self.num_draws).sum(dim=1)
        return (of_mean - self._entropy / self.num_draws).clamp(min=0)


class MeanSTDSums(DrawSums):
    """Means and squared deviations of probabilities, for ``mean_std_scores``."""

    _mean: Tensor
    _squares: Tensor

    def _add(self, log_probs: Tensor) -> None:
        probs = log_probs.exp_()
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

    def _add(self, log_probs: Tensor) -> None:
        if self.votes:
            added = torch.nn.functional.one_hot(log_probs.argmax(dim=1), log_probs.shape[1]).to(log_probs.dtype)
        else:
            added = log_probs.exp_()
        self._sums = added if self.num_draws == 1 else self._sums.add_(added)

    def scores(self) -> Tensor:
        return 1 - self._sums.amax(dim=1) / self.num_draws
