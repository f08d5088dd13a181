"""Candidates: which points of the pool are scored at all, where scoring all of them would cost too much."""

from dal.candidates.base import AllCandidates, Candidates, Known, RandomCandidates
from dal.candidates.config import CandidatesConfig
from dal.candidates.neighbors import NeighborCandidates, load_embeddings, starting_features
from dal.candidates.stale import StaleCandidates

__all__ = [
    "AllCandidates",
    "Candidates",
    "CandidatesConfig",
    "Known",
    "NeighborCandidates",
    "RandomCandidates",
    "StaleCandidates",
    "load_embeddings",
    "starting_features",
]
