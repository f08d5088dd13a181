"""Candidates: the part of the pool that is scored."""

from dal.scoring.candidates.base import AllCandidates, Candidates, Known, RandomCandidates
from dal.scoring.candidates.config import CandidatesConfig
from dal.scoring.candidates.near_labeled import NeighborCandidates, load_embeddings, starting_features
from dal.scoring.candidates.stale import StaleCandidates, latest_scores

__all__ = [
    "AllCandidates",
    "Candidates",
    "CandidatesConfig",
    "Known",
    "NeighborCandidates",
    "RandomCandidates",
    "StaleCandidates",
    "latest_scores",
    "load_embeddings",
    "starting_features",
]
