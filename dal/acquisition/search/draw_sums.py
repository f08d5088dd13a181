"""Running sums over draws, so that the draws of many sites never exist at once."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from dal.acquisition.search.columns import Exponentials, classes, entropies, exponentials, first_largest


class DrawSums(ABC):
    """Sums over the draws of N sites with C classes, from which a function computes its scores.

    add() takes one draw after the other. The sums are float64. A site has the score NaN if a draw had a logit of NaN
    or +inf, or only -inf.
    """

    _totals: Tensor

    def __init__(self) -> None:
        self.num_draws = 0

    def add(self, logits: Tensor) -> None:
        """Add the (C, N) logits of a draw, any floating dtype. Log-probabilities are logits too."""
        given = exponentials(logits)
        self.num_draws += 1
        self._totals = given.total if self.num_draws == 1 else self._totals + given.total
        self._add(given)

    @abstractmethod
    def _add(self, given: Exponentials) -> None:
        """Add a draw. May change the tensors."""

    @abstractmethod
    def scores(self) -> Tensor:
        """Return (N,) float64 scores of the draws so far."""

    def summary(self) -> dict[str, Tensor]:
        """Return the summary of the draws so far."""
        # The products are 0 or NaN. Checking each draw instead would make a GPU wait.
        return {"scores": self.scores() + 0 * self._totals}


class BALDSums(DrawSums):
    """Sums of probabilities and of entropies, for ``bald_scores``.

    >>> sums = BALDSums()
    >>> sums.add(torch.tensor([[1.0], [0.0]]).log())
    >>> sums.add(torch.tensor([[0.0], [1.0]]).log())
    >>> sums.scores()
    tensor([0.6931], dtype=torch.float64)
    """

    _probs: Tensor
    _entropy: Tensor

    def _add(self, given: Exponentials) -> None:
        self._probs = _added(given, None if self.num_draws == 1 else self._probs)
        entropy = entropies(given)
        self._entropy = entropy if self.num_draws == 1 else self._entropy.add_(entropy)

    def scores(self) -> Tensor:
        of_mean: Tensor = torch.special.entr(self._probs / self.num_draws).sum(dim=0)
        return (of_mean - self._entropy / self.num_draws).clamp(min=0)


class MeanSTDSums(DrawSums):
    """Means and squared deviations of probabilities, for ``mean_std_scores``."""

    _mean: Tensor
    _squares: Tensor

    def _add(self, given: Exponentials) -> None:
        probs = given.weights / given.total
        if self.num_draws == 1:
            self._mean, self._squares = probs, torch.zeros_like(probs)
            return
        # Welford's update. A sum of squares minus a squared mean would lose small deviations to cancellation.
        change = probs - self._mean
        self._mean += change / self.num_draws
        self._squares.addcmul_(change, probs - self._mean)

    def scores(self) -> Tensor:
        return (self._squares / self.num_draws).sqrt().mean(dim=0)


class VoteSums(DrawSums):
    """Votes for classes, or sums of probabilities, for ``variation_ratio_scores``."""

    _sums: Tensor

    def __init__(self, votes: bool) -> None:
        super().__init__()
        self.votes = votes

    def _add(self, given: Exponentials) -> None:
        before = None if self.num_draws == 1 else self._sums
        if not self.votes:
            self._sums = _added(given, before)
            return
        votes = first_largest(given.shifted)
        self._sums = votes.to(given.total.dtype) if before is None else before.add_(votes)

    def scores(self) -> Tensor:
        return 1 - self._sums.amax(dim=0) / self.num_draws


class PredictedSums(DrawSums):
    """Sums of another kind, with the class of the highest mean probability as ``predicted``."""

    _probs: Tensor

    def __init__(self, sums: DrawSums) -> None:
        super().__init__()
        self._sums = sums

    def _add(self, given: Exponentials) -> None:
        self._probs = _added(given, None if self.num_draws == 1 else self._probs)
        self._sums.num_draws = self.num_draws
        self._sums._add(given)

    def scores(self) -> Tensor:
        return self._sums.scores()

    def summary(self) -> dict[str, Tensor]:
        return super().summary() | {"predicted": classes(self._probs - self._probs.amax(dim=0))}


def _added(given: Exponentials, sums: Tensor | None) -> Tensor:
    """Return the sums with the probabilities of a draw."""
    return given.weights / given.total if sums is None else sums.addcdiv_(given.weights, given.total)
