"""The interface of candidates, with all points and random samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from dal.acquisition.search.numbers import MOST_POINTS, check_whole
from dal.errors import bad_value
from dal.labeling.pool import Pool


def no_features() -> Tensor:
    """Raise TypeError; the default of Known.features."""
    raise TypeError("features are not available")


@dataclass(frozen=True, eq=False)
class Known:
    """Facts about the training set that are known before the pass.

    ``features`` computes its (N, D) features with the initial network of the campaign. ``scores`` are the (N,) last
    scores, NaN for points without a score, or None before the first pass.
    """

    features: Callable[[], Tensor] = no_features
    scores: Tensor | None = None


@runtime_checkable
class Candidates(Protocol):
    """Chooses the points to score for a query.

    The choice depends only on the arguments of choose() and on the settings, so a resumed run scores the same points as
    an uninterrupted one.
    """

    def check(self, num_points: int, query_size: int) -> None:
        """Raise DalError unless the settings fit these sizes.

        ``num_points`` is the size of the training set.
        """
        ...

    def choose(self, pool: Pool, query_size: int, generator: torch.Generator, known: Known) -> Tensor:
        """Return unlabeled points of the pool, (M,) int64, ascending.

        M is at least ``query_size``. The pool must have this many unlabeled points.
        """
        ...


@dataclass(frozen=True)
class AllCandidates:
    """Scores every unlabeled point."""

    def check(self, num_points: int, query_size: int) -> None:
        pass

    def choose(self, pool: Pool, query_size: int, generator: torch.Generator, known: Known) -> Tensor:
        return pool.unlabeled


@dataclass(frozen=True)
class RandomCandidates:
    """Scores a new random sample of ``size`` unlabeled points per query.

    If the pool has fewer unlabeled points, all of them are scored. Raises DalError for a size below 1 or below the
    query size.

    >>> pool = Pool(size=6, num_classes=2, excluded=[1])
    >>> RandomCandidates(3).choose(pool, 2, torch.Generator().manual_seed(0), Known())
    tensor([0, 2, 5])
    """

    size: int

    def __post_init__(self) -> None:
        check_whole("candidates.size", self.size, most=MOST_POINTS)

    def check(self, num_points: int, query_size: int) -> None:
        if query_size > self.size:
            raise bad_value("candidates.size", f"at least the {query_size} points of a query", self.size)

    def choose(self, pool: Pool, query_size: int, generator: torch.Generator, known: Known) -> Tensor:
        self.check(pool.size, query_size)
        return draw(pool.unlabeled, self.size, generator)


def draw(points: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Return a random sample, (min(size, len(points)),), in the order of ``points``."""
    return points[torch.randperm(len(points), generator=generator)[:size].sort().values]
