"""Candidates: which points of the pool are scored at all, where scoring all of them would cost too much."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from dal.acquisition.search.rows import all_rows
from dal.data.base import ImageData
from dal.errors import bad_value, unknown_choice
from dal.faiss_neighbors import FaissNeighbors, check_faiss
from dal.models.adapt import AdaptedModel
from dal.neighbors import Embedding, ExactNeighbors, Floats, Neighbors
from dal.pool import Pool
from dal.progress import OnProgress, silent
from dal.scoring import ScoringConfig, pool_pass

KINDS = ("all", "random", "neighbors")
INDEXES = ("exact", "faiss")


@runtime_checkable
class Candidates(Protocol):
    """Says what is scored before a query. What it says depends on the pool, the generator and its own settings alone,
    so that a resumed run scores what one that was never cut off would have scored."""

    def check(self, num_points: int, query_size: int) -> None:
        """Raise DalError unless it fits a training set of so many points and queries of that size."""
        ...

    def choose(self, pool: Pool, query_size: int, generator: torch.Generator, features: Callable[[], Tensor]) -> Tensor:
        """(M,) int64 unlabeled points of the pool, ascending, at least ``query_size``, which the pool has.

        ``features`` computes the (N, D) features of the whole training set, by the network the campaign starts from.
        """
        ...


@dataclass(frozen=True)
class AllCandidates:
    """Every unlabeled point."""

    def check(self, num_points: int, query_size: int) -> None:
        pass

    def choose(self, pool: Pool, query_size: int, generator: torch.Generator, features: Callable[[], Tensor]) -> Tensor:
        return pool.unlabeled


@dataclass(frozen=True)
class RandomCandidates:
    """``size`` unlabeled points, drawn anew for every query; all of them where there are no more.

    Raises DalError for a size that is less than 1, or than the points that are asked for.

    >>> pool = Pool(size=6, num_classes=2, excluded=[1])
    >>> RandomCandidates(3).choose(pool, 2, torch.Generator().manual_seed(0), lambda: torch.empty(0))
    tensor([0, 2, 5])
    """

    size: int

    def __post_init__(self) -> None:
        _check_count("size", self.size)

    def check(self, num_points: int, query_size: int) -> None:
        if query_size > self.size:
            raise bad_value("candidates.size", f"at least the {query_size} points of a query", self.size)

    def choose(self, pool: Pool, query_size: int, generator: torch.Generator, features: Callable[[], Tensor]) -> Tensor:
        self.check(pool.size, query_size)
        return _draw(pool.unlabeled, self.size, generator)


class NeighborCandidates:
    """The unlabeled ones among the ``num_neighbors`` nearest neighbors of every labeled point: SEALS
    (arXiv:2007.00077), whose scoring costs what is labeled, not what is there.

    Neighbors are Euclidean in a fixed embedding: (N, D) floating-point numbers, a row for each point of the training
    set, or None, for the features of the network that the campaign starts from. They are looked for among all points,
    so the candidates follow from what is labeled, whenever it was; only newly labeled points are searched. Where there
    are fewer than a query wants, random unlabeled points fill up what is missing.

    ``index`` is exact, or faiss, which is approximate where there are many points.

    Raises DalError for embeddings that are not as above, and where FAISS is wanted and not installed.

    >>> pool = Pool(size=6, num_classes=2)
    >>> pool.label([4], [1], round=0)
    >>> near = NeighborCandidates(torch.tensor([[0.0], [1.0], [2.0], [3.0], [4.0], [9.0]]), num_neighbors=2)
    >>> near.choose(pool, 1, torch.Generator(), lambda: torch.empty(0))
    tensor([2, 3])
    """

    def __init__(
        self, embeddings: Tensor | Floats | None = None, num_neighbors: int = 100, index: str = "exact"
    ) -> None:
        _check_count("num_neighbors", num_neighbors)
        if index not in INDEXES:
            raise unknown_choice("candidates.index", INDEXES, index)
        if index == "faiss":
            check_faiss()
        self.num_neighbors, self.index = num_neighbors, index
        self._given = None if embeddings is None else Embedding(embeddings)
        self._neighbors: Neighbors | None = None
        self._pool: Pool | None = None
        self._near = self._searched = torch.empty(0, dtype=torch.bool)

    def check(self, num_points: int, query_size: int) -> None:
        if self._given is not None and len(self._given) != num_points:
            expected = f"one row for each of the {num_points} images of the training set"
            raise bad_value("candidates.embeddings", expected, len(self._given))

    def choose(self, pool: Pool, query_size: int, generator: torch.Generator, features: Callable[[], Tensor]) -> Tensor:
        self.check(pool.size, query_size)
        if pool is not self._pool:
            self._start(pool)
        if self._neighbors is None:
            embedding = self._given or Embedding(features())
            self._neighbors = ExactNeighbors(embedding) if self.index == "exact" else FaissNeighbors(embedding)
        new = pool.labeled[~self._searched[pool.labeled]]
        found = self._neighbors.search(new, self.num_neighbors).flatten()
        self._near[found[found >= 0]] = True
        self._searched[new] = True
        is_near = self._near[pool.unlabeled]
        near, others = pool.unlabeled[is_near], pool.unlabeled[~is_near]
        return torch.cat([near, _draw(others, max(0, query_size - len(near)), generator)]).sort().values

    def _start(self, pool: Pool) -> None:
        """Forget another learner's pool, and the features of its network."""
        self._pool = pool
        self._near, self._searched = torch.zeros(2, pool.size, dtype=torch.bool)
        if self._given is None:
            self._neighbors = None


@dataclass
class CandidatesConfig:
    """Which points of the pool are scored: all, a random part drawn anew each round, or neighbors of what is labeled
    (arXiv:2007.00077)."""

    kind: str = "all"  # all, random or neighbors
    size: int = 10_000  # of random: points scored a round
    num_neighbors: int = 100  # of neighbors: of each labeled point
    embeddings: str | None = None  # of neighbors: a .npy (N, D), or null for the features of the first network
    index: str = "exact"  # of neighbors: exact, or faiss

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown_choice("candidates.kind", KINDS, self.kind)
        if self.index not in INDEXES:
            raise unknown_choice("candidates.index", INDEXES, self.index)
        _check_count("size", self.size)
        _check_count("num_neighbors", self.num_neighbors)

    def build(self) -> Candidates:
        """The candidates that this describes. Raises DalError where the embeddings cannot be had."""
        if self.kind == "random":
            return RandomCandidates(self.size)
        if self.kind == "neighbors":
            embeddings = None if self.embeddings is None else load_embeddings(self.embeddings)
            return NeighborCandidates(embeddings, self.num_neighbors, self.index)
        if self != CandidatesConfig():
            warnings.warn("candidates: all points are scored, as candidates.kind=all says.", stacklevel=2)
        return AllCandidates()


def load_embeddings(path: str) -> Floats:
    """The array of a .npy file, memory-mapped. Raises DalError where there is none."""
    try:
        loaded: Any = np.load(Path(path), mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        reason = getattr(error, "strerror", None) or "no array in it"
        raise bad_value("candidates.embeddings", "a .npy file of an array", f"{path} ({reason})") from error
    if not isinstance(loaded, np.ndarray):
        raise bad_value("candidates.embeddings", "a .npy file of one array", path)
    return loaded


def starting_features(
    model: AdaptedModel,
    state: Mapping[str, Tensor],
    data: ImageData,
    config: ScoringConfig | None = None,
    *,
    device: torch.device | None = None,
    on_progress: OnProgress = silent,
) -> Tensor:
    """(N, D) float32 features of all points, by the network with the weights of ``state``; the model's own are back
    afterwards. Raises NonFiniteError, naming the image, for features that are not finite."""
    module = model.module
    own = {name: value.detach().clone() for name, value in module.state_dict().items()}
    try:
        module.load_state_dict(dict(state))
        (features,) = pool_pass(
            model,
            data,
            torch.arange(len(data)),
            lambda view, x: (view.features(x).float(),),
            config=config,
            device=device,
            on_progress=on_progress,
        )
    finally:
        module.load_state_dict(own)
    return all_rows(features)


def _draw(points: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """(min(size, len(points)),) of the points, in their order."""
    return points[torch.randperm(len(points), generator=generator)[:size].sort().values]


def _check_count(name: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise bad_value(f"candidates.{name}", "a whole number of at least 1", value)
