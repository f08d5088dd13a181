"""PowerBALD: sample points in proportion to a power of their BALD score."""

from __future__ import annotations

from dataclasses import dataclass, field

from dal.acquisition.stochastic import Stochastic

__all__ = ["PowerBALD"]


@dataclass(frozen=True)
class PowerBALD(Stochastic):
    """The same as ``Stochastic(score="bald", kind="power")``, which arXiv:2106.12059 recommends.

    Args:
        beta: Power of the score, above 0; values near 0 select uniformly, large values select the highest scores.
        num_draws: Networks drawn by Monte Carlo dropout, at least 2.
    """

    score: str = field(default="bald", init=False, repr=False)
    kind: str = field(default="power", init=False, repr=False)
