"""Stochastic batches: sample points with probabilities from any score."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from dal.acquisition.base import (
    MOST_DRAWS,
    AcquisitionFunction,
    PoolModel,
    ScoreFunction,
    Selection,
    Summary,
    check_dims,
    check_query_size,
)
from dal.acquisition.registry import registry
from dal.acquisition.search.columns import is_current
from dal.acquisition.search.draw_sums import DrawSums
from dal.acquisition.search.exponential_race import draw_seed, uniforms
from dal.acquisition.search.highest import at_least_as_high
from dal.acquisition.search.numbers import check_finite, check_whole
from dal.errors import unknown_choice
from dal.runtime.ranges import Range

__all__ = ["Stochastic", "stochastic_select"]

_KINDS = ("power", "softmax", "softrank")


def stochastic_select(
    scores: Tensor, query_size: int, generator: torch.Generator, *, kind: str = "power", beta: float = 1.0
) -> Selection:
    """Draw points without replacement, favoring high scores (arXiv:2106.12059).

    Each step draws one of the remaining points, with probability proportional to a weight:

    - ``power``: the score to the power of ``beta``. Negative scores count as 0. Points with score 0 come last, in
      random order.
    - ``softmax``: exp(``beta`` · score).
    - ``softrank``: the rank to the power of -``beta``. The highest score has rank 1, and equal scores are ranked in
      random order.

    All points are drawn at once, by adding a Gumbel variable to the logarithm of each weight and taking the largest.

    Args:
        scores: (N,), any floating dtype, higher is more worth labeling.
        query_size: Q, from 1 to N.
        generator: on the CPU.
        kind: power, softmax or softrank.
        beta: above 0; values near 0 select uniformly, large values select the highest scores.

    Returns:
        Q distinct positions in the order they were drawn, and their scores without the noise.

    Raises:
        DalError: the shape is not (N,), or another argument is out of range.
        NonFiniteError: a score is NaN or infinite.

    >>> scores = torch.tensor([0.0, 2.0, 1.0])
    >>> stochastic_select(scores, 3, torch.Generator().manual_seed(0), beta=50.0).positions
    tensor([1, 2, 0])
    """
    check_race(scores, query_size, kind, beta)
    scores = scores.detach().cpu().double()
    keys, noise = race(scores, generator, kind, beta)
    places = at_least_as_high(keys, query_size)
    positions = places[in_order(keys[places], noise[places])[:query_size]]
    return Selection(positions, scores[positions])


def race(scores: Tensor, generator: torch.Generator, kind: str, beta: float) -> tuple[Tensor, Tensor]:
    """Return the (N,) keys and the noise of points. The order of the draw is that of in_order()."""
    # The uniforms depend only on the seed and the position, and are never 0 or 1.
    noise = -(-uniforms(draw_seed(generator), 0, len(scores)).log()).log()
    if kind == "power":
        weights = beta * scores.clamp(min=0).log()
    elif kind == "softmax":
        # Subtracting the maximum keeps rounding of large scores from absorbing the noise.
        weights = beta * (scores - scores.max())
    else:
        shuffled = torch.randperm(len(scores), generator=generator)
        by_score = shuffled[torch.sort(scores[shuffled], descending=True, stable=True).indices]
        weights = torch.empty_like(scores)
        weights[by_score] = -beta * torch.arange(1, len(scores) + 1, dtype=torch.float64).log()
    return weights + noise, noise


def in_order(keys: Tensor, noise: Tensor) -> Tensor:
    """Return the places of keys, best first. Points of weight 0, of key -inf, are in the order of their noise."""
    by_noise = torch.argsort(noise, descending=True, stable=True)
    return by_noise[torch.sort(keys[by_noise], descending=True, stable=True).indices]


@dataclass(frozen=True)
class Stochastic(AcquisitionFunction):
    """Selects with ``stochastic_select`` on another function's scores; keeps one number per point.

    Args:
        score: Acquisition function that scores each point, such as margin or bald (which is PowerBALD).
        kind: Distribution to draw from: power, softmax or softrank of the scores.
        beta: Sharpness, above 0; values near 0 select uniformly, large values select the highest scores.
        num_draws: Networks drawn by Monte Carlo dropout, for scores that need them.

    >>> Stochastic(score="margin").needs_dropout, Stochastic(score="bald").needs_dropout
    (False, True)
    """

    keeps: ClassVar[tuple[str, ...]] = ("scores",)

    score: str = "margin"
    kind: str = "power"
    beta: float = 1.0
    num_draws: int = 20

    def __post_init__(self) -> None:
        _check(self.kind, self.beta)
        check_whole("num_draws", self.num_draws, most=MOST_DRAWS)
        # Creating the score function also checks its parameters.
        object.__setattr__(self, "needs_dropout", self.score_function.needs_dropout)

    @cached_property
    def score_function(self) -> ScoreFunction:
        """The function that computes the scores."""
        known = {name: found for name, found in registry().items() if issubclass(found, ScoreFunction)}
        if self.score not in known:
            raise unknown_choice("score", known, str(self.score))
        found = known[self.score]
        takes_draws = any(f.name == "num_draws" for f in fields(found))
        values: dict[str, Any] = {"num_draws": self.num_draws} if takes_draws else {}
        return found(**values)

    def summarize(self, model: PoolModel, x: Tensor) -> Summary:
        return self.score_function.summarize(model, x)

    def draw_sums(self) -> DrawSums | None:
        function = self.score_function
        return function.draw_sums() if is_current(type(function), "draw_sums") else None

    def site_summary(self, logits: Tensor) -> Summary | None:
        function = self.score_function
        return function.site_summary(logits) if is_current(type(function), "site_summary") else None

    def select(self, pool: Summary, labeled: Summary, query_size: int, generator: torch.Generator) -> Selection:
        return stochastic_select(pool["scores"], query_size, generator, kind=self.kind, beta=self.beta)


def check_race(scores: Tensor, query_size: int, kind: str, beta: float) -> None:
    """Raise DalError or NonFiniteError as stochastic_select() does."""
    check_dims("scores", scores, "N")
    check_query_size(query_size, len(scores))
    check_finite("scores", scores)
    _check(kind, beta)


def _check(kind: str, beta: float) -> None:
    if kind not in _KINDS:
        raise unknown_choice("kind", _KINDS, str(kind))
    Range(0, 10**6, "a finite number", above=True).check("beta", beta)
