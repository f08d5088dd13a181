"""The configuration of candidates."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

from dal.errors import bad_value, unknown_choice
from dal.scoring.candidates.base import AllCandidates, Candidates, RandomCandidates, check_count
from dal.scoring.candidates.near_labeled import INDEXES, NeighborCandidates, load_embeddings
from dal.scoring.candidates.stale import StaleCandidates

KINDS = ("all", "random", "neighbors", "stale")


@dataclass
class CandidatesConfig:
    """Which points of the pool are scored: all, a random part drawn anew each round, or neighbors of what is labeled
    (arXiv:2007.00077), or what scored highest when it was last scored."""

    kind: str = "all"  # all, random, neighbors or stale
    size: int = 10_000  # of random and stale: points scored a round
    explore: float = 0.2  # of stale: the share of them that is drawn at random
    num_neighbors: int = 100  # of neighbors: of each labeled point
    features_file: str | None = None  # of neighbors: a .npy (N, D), or null for the features of the first network
    index: str = "exact"  # of neighbors: exact, or faiss

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown_choice("candidates.kind", KINDS, self.kind)
        if self.index not in INDEXES:
            raise unknown_choice("candidates.index", INDEXES, self.index)
        check_count("size", self.size)
        check_count("num_neighbors", self.num_neighbors)
        if not 0 <= self.explore <= 1:
            raise bad_value("candidates.explore", "a share from 0 to 1", self.explore)

    def build(self) -> Candidates:
        """The candidates that this describes. Raises DalError where the embeddings cannot be had."""
        if self.kind == "random":
            return RandomCandidates(self.size)
        if self.kind == "stale":
            return StaleCandidates(self.size, self.explore)
        if self.kind == "neighbors":
            embeddings = None if self.features_file is None else load_embeddings(self.features_file)
            return NeighborCandidates(embeddings, self.num_neighbors, self.index)
        if self != CandidatesConfig():
            warnings.warn("candidates: all points are scored, as candidates.kind=all says.", stacklevel=2)
        return AllCandidates()
