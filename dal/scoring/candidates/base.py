"""The interface of candidates; all points, and a random part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from dal.acquisition.search.numbers import check_whole
from dal.errors import bad_value
from dal.labeling.pool import Pool


def no_features() -> Tensor:
    """For those who need none."""
    raise TypeError("features were not offered")


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of the training set before the pass: ``features`` computes its (N, D) features by the network that
    the campaign starts from; ``scores`` are the (N,) last scores, NaN where there is none, or None before the first
    pass."""

    features: Callable[[], Tensor] = no_features
    scores: Tensor | None = None


@runtime_checkable
class Candidates(Protocol):
    """Says what is scored before a query. What it says depends on the pool, the generator and its own settings alone,
    so that a resumed run scores what one that was never cut off would have scored."""

    def check(self, num_points: int, query_size: int) -> None:
        """Raise DalError unless it fits a training set of so many points and queries of that size."""
        ...

    def choose(self, pool: Pool, query_size: int, generator: torch.Generator, known: Known) -> Tensor:
        """(M,) int64 unlabeled points of the pool, ascending, at least ``query_size``, which the pool has."""
        ...


@dataclass(frozen=True)
class AllCandidates:
    """Every unlabeled point."""

    def check(self, num_points: int, query_size: int) -> None:
        pass

    def choose(self, pool: Pool, query_size: int, generator: torch.Generator, known: Known) -> Tensor:
        return pool.unlabeled


@dataclass(frozen=True)
class RandomCandidates:
    """``size`` unlabeled points, drawn anew for every query; all of them where there are no more.

    Raises DalError for a size that is less than 1, or than the points that are asked for.

    >>> pool = Pool(size=6, num_classes=2, excluded=[1])
    >>> RandomCandidates(3).choose(pool, 2, torch.Generator().manual_seed(0), Known())
    tensor([0, 2, 5])
    """

    size: int

    def __post_init__(self) -> None:
        check_whole("candidates.size", self.size)

    def check(self, num_points: int, query_size: int) -> None:
        if query_size > self.size:
            raise bad_value("candidates.size", f"at least the {query_size} points of a query", self.size)

    def choose(self, pool: Pool, query_size: int, generator: torch.Generator, known: Known) -> Tensor:
        self.check(pool.size, query_size)
        return draw(pool.unlabeled, self.size, generator)


def draw(points: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """(min(size, len(points)),) of the points, in their order."""
    return points[torch.randperm(len(points), generator=generator)[:size].sort().values]
