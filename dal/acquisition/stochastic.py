"""Stochastic batches: sample points in proportion to any score."""

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
from dal.acquisition.search.exponential_race import draw_seed, uniforms
from dal.acquisition.search.numbers import check_finite, check_whole
from dal.errors import unknown_choice
from dal.runtime.ranges import Range

__all__ = ["Stochastic", "stochastic_select"]

_KINDS = ("power", "softmax", "softrank")


def stochastic_select(
    scores: Tensor, query_size: int, generator: torch.Generator, *, kind: str = "power", beta: float = 1.0
) -> Selection:
    """Draw points without replacement, each with a probability that grows with its score (arXiv:2106.12059).

    The next point is i, among those that are left, with probability proportional to

    - ``power``: the score to the power of ``beta``. Scores of 0, and negative ones, which count as 0, come last, in
      random order.
    - ``softmax``: exp(``beta`` · score).
    - ``softrank``: the rank to the power of -``beta``, where the highest score has rank 1 and equal scores have their
      ranks at random.

    All are drawn at once: they are the largest logarithms of these weights after a Gumbel variable is added to each.

    Args:
        scores: (N,), any floating dtype, higher is more worth labeling.
        query_size: Q, from 1 to N.
        generator: on the CPU.
        kind: power, softmax or softrank.
        beta: above 0: near 0 the choice is uniform, when it is large the highest scores are taken.

    Returns:
        Q distinct positions in the order they were drawn, and their own scores, without the noise.

    Raises:
        DalError: the shape is not (N,), or another argument is out of range.
        NonFiniteError: a score is NaN or infinite.

    >>> scores = torch.tensor([0.0, 2.0, 1.0])
    >>> stochastic_select(scores, 3, torch.Generator().manual_seed(0), beta=50.0).positions
    tensor([1, 2, 0])
    """
    check_dims("scores", scores, "N")
    check_query_size(query_size, len(scores))
    check_finite("scores", scores)
    _check(kind, beta)
    scores = scores.detach().cpu().double()
    # Of a seed and the point: the same on every machine, and never 0 or 1.
    noise = -(-uniforms(draw_seed(generator), 0, len(scores)).log()).log()
    if kind == "power":
        weights = beta * scores.clamp(min=0).log()
    elif kind == "softmax":
        # Less the largest, as numbers far from 0 would swallow the noise.
        weights = beta * (scores - scores.max())
    else:
        shuffled = torch.randperm(len(scores), generator=generator)
        by_score = shuffled[torch.sort(scores[shuffled], descending=True, stable=True).indices]
        weights = torch.empty_like(scores)
        weights[by_score] = -beta * torch.arange(1, len(scores) + 1, dtype=torch.float64).log()
    # Those of weight 0, all at -inf, are in the order of their noise.
    by_noise = torch.argsort(noise, descending=True, stable=True)
    keys = (weights + noise)[by_noise]
    positions = by_noise[torch.sort(keys, descending=True, stable=True).indices[:query_size]]
    return Selection(positions, scores[positions])


@dataclass(frozen=True)
class Stochastic(AcquisitionFunction):
    """``stochastic_select`` by the scores of another function, of which one number a point is kept.

    Args:
        score: Acquisition function that scores each point, such as margin or bald (which is PowerBALD).
        kind: Distribution to draw from: power, softmax or softrank of the scores.
        beta: Sharpness, above 0: near 0 the choice is uniform, a large one takes the highest scores.
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
        # The score function checks its own parameters.
        object.__setattr__(self, "needs_dropout", self.score_function.needs_dropout)

    @cached_property
    def score_function(self) -> ScoreFunction:
        """The function whose scores these are."""
        known = {name: found for name, found in registry().items() if issubclass(found, ScoreFunction)}
        if self.score not in known:
            raise unknown_choice("score", known, str(self.score))
        found = known[self.score]
        takes_draws = any(f.name == "num_draws" for f in fields(found))
        values: dict[str, Any] = {"num_draws": self.num_draws} if takes_draws else {}
        return found(**values)

    def summarize(self, model: PoolModel, x: Tensor) -> Summary:
        return self.score_function.summarize(model, x)

    def select(self, pool: Summary, labeled: Summary, query_size: int, generator: torch.Generator) -> Selection:
        return stochastic_select(pool["scores"], query_size, generator, kind=self.kind, beta=self.beta)


def _check(kind: str, beta: float) -> None:
    if kind not in _KINDS:
        raise unknown_choice("kind", _KINDS, str(kind))
    Range(0, 10**6, "a finite number", above=True).check("beta", beta)
