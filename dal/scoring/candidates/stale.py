"""Candidates chosen by their last scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dal.acquisition.search.numbers import MOST_POINTS, check_whole
from dal.errors import bad_value
from dal.labeling.pool import Pool
from dal.labeling.query import Query
from dal.scoring.candidates.base import Known, draw


@dataclass(frozen=True)
class StaleCandidates:
    """Scores the ``size`` unlabeled points with the highest last scores.

    A share ``explore`` of the points is drawn at random from the others instead, so that points with a low score are
    eventually scored again. A score remains valid until its point is scored again. Points without a score come first.
    The first query after training scores all points. Requires a function that scores each point separately.

    Raises DalError for a size below 1 or below the query size, and for a share outside 0 to 1.

    >>> pool = Pool(size=6, num_classes=2, excluded=[1])
    >>> known = Known(scores=torch.tensor([0.5, 0.9, 0.1, 0.2, 0.3, 0.4]))
    >>> StaleCandidates(3, explore=0.0).choose(pool, 2, torch.Generator().manual_seed(0), known)
    tensor([0, 4, 5])
    """

    needs_scores: ClassVar[bool] = True
    """Whether the learner keeps the scores of every pass, and rejects functions without scores."""

    size: int
    explore: float = 0.2

    def __post_init__(self) -> None:
        check_whole("candidates.size", self.size, most=MOST_POINTS)
        if not 0 <= self.explore <= 1:
            raise bad_value("candidates.explore", "a share from 0 to 1", self.explore)

    def check(self, num_points: int, query_size: int) -> None:
        if query_size > self.size:
            raise bad_value("candidates.size", f"at least the {query_size} points of a query", self.size)

    def choose(self, pool: Pool, query_size: int, generator: torch.Generator, known: Known) -> Tensor:
        self.check(pool.size, query_size)
        points = pool.unlabeled
        if known.scores is None or len(points) <= self.size:
            return points
        scores = known.scores[points]
        scores = torch.where(scores.isnan(), torch.inf, scores)
        num_best = self.size - int(self.explore * self.size + 0.5)
        order = scores.sort(descending=True, stable=True).indices
        explored = draw(points[order[num_best:].sort().values], self.size - num_best, generator)
        return torch.cat([points[order[:num_best]], explored]).sort().values


def latest_scores(before: Tensor | None, scored: Query, num_points: int) -> Tensor:
    """Return the (N,) float64 last score of each point, NaN for points that were never scored.

    >>> latest_scores(None, Query((2,), ("c",), (0.5,)), 3)
    tensor([   nan,    nan, 0.5000], dtype=torch.float64)
    """
    scores = torch.full((num_points,), torch.nan, dtype=torch.float64) if before is None else before.clone()
    scores[list(scored)] = torch.tensor(scored.scores, dtype=torch.float64)
    return scores
