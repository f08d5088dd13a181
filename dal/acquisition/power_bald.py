"""PowerBALD: draw points in proportion to a power of their BALD score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dal.acquisition.base import AcquisitionFunction, PoolModel, Selection, Summary
from dal.acquisition.stochastic import Stochastic

__all__ = ["PowerBALD"]


@dataclass(frozen=True)
class PowerBALD(AcquisitionFunction):
    """``Stochastic(score="bald", kind="power")``, the function that arXiv:2106.12059 recommends, under its own name.

    Args:
        num_draws: networks drawn by Monte Carlo dropout, at least 2.
        beta: above 0: near 0 the choice is uniform, when it is large it is BALD's.

    >>> PowerBALD(num_draws=10).stochastic
    Stochastic(score='bald', kind='power', beta=1.0, num_draws=10)
    """

    needs_dropout: ClassVar[bool] = True

    num_draws: int = 20
    beta: float = 1.0

    def __post_init__(self) -> None:
        _ = self.stochastic  # with its own checks

    @property
    def stochastic(self) -> Stochastic:
        """The function that does the work."""
        return Stochastic(score="bald", kind="power", beta=self.beta, num_draws=self.num_draws)

    def summarize(self, model: PoolModel, x: Tensor) -> Summary:
        return self.stochastic.summarize(model, x)

    def select(self, pool: Summary, labeled: Summary, query_size: int, generator: torch.Generator) -> Selection:
        return self.stochastic.select(pool, labeled, query_size, generator)
