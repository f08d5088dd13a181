"""The configuration of candidates."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import ClassVar

from dal.errors import unknown_choice
from dal.runtime.ranges import Ranges, check_ranges, share, whole
from dal.scoring.candidates.base import AllCandidates, Candidates, RandomCandidates
from dal.scoring.candidates.near_labeled import INDEXES, NeighborCandidates, load_embeddings
from dal.scoring.candidates.stale import StaleCandidates

KINDS = ("all", "random", "neighbors", "stale")


@dataclass
class CandidatesConfig:
    """Which points of the pool are scored.

    These are all points, a new random sample each round, the neighbors of labeled points (arXiv:2007.00077), or the
    points with the highest last scores.
    """

    ranges: ClassVar[Ranges] = {
        "size": whole(1, 10**9),
        "explore": share(),
        "num_neighbors": whole(1, 10**6),
    }

    kind: str = "all"
    """Unlabeled points to score: all, random (a new sample each round), neighbors (near labeled points), or stale
    (highest last scores)."""
    size: int = 10_000
    """Points scored per round with kind=random or kind=stale."""
    explore: float = 0.2
    """Share of the points of kind=stale that are drawn at random."""
    num_neighbors: int = 100
    """Neighbors considered per labeled point with kind=neighbors."""
    features_file: str | None = None
    """A .npy file (N, D) with the features that kind=neighbors searches in; null uses those of the first network."""
    index: str = "exact"
    """Nearest-neighbor search of kind=neighbors: exact, or faiss (approximate on large pools)."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown_choice("candidates.kind", KINDS, self.kind)
        if self.index not in INDEXES:
            raise unknown_choice("candidates.index", INDEXES, self.index)
        check_ranges(self, "candidates.")

    def build(self) -> Candidates:
        """Build the candidates.

        Raises DalError if ``features_file`` cannot be read.
        """
        if self.kind == "random":
            return RandomCandidates(self.size)
        if self.kind == "stale":
            return StaleCandidates(self.size, self.explore)
        if self.kind == "neighbors":
            embeddings = None if self.features_file is None else load_embeddings(self.features_file)
            return NeighborCandidates(embeddings, self.num_neighbors, self.index)
        if self != CandidatesConfig():
            warnings.warn(
                "candidates: all points are scored because candidates.kind is all; other settings are ignored.",
                stacklevel=2,
            )
        return AllCandidates()
