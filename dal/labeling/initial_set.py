"""The initial points to label, chosen without a trained model."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from dal.acquisition.base import AcquisitionFunction
from dal.acquisition.kmeans import KMeans
from dal.acquisition.typiclust import TypiClust
from dal.data.images import ImageData
from dal.errors import bad_content, bad_value, unknown_choice
from dal.tasks import CLASSIFICATION

FROM_FEATURES: Mapping[str, AcquisitionFunction] = {"typiclust": TypiClust(), "kmeans": KMeans()}
"""Policies that select by features which exist before any label (see dal.scoring.initial_features)."""

INITIAL_SETS = ("random", "balanced", *FROM_FEATURES)


def initial_set(policy: str, candidates: Tensor, data: ImageData, size: int, generator: torch.Generator) -> Tensor:
    """Return (size,) int64 indices from ``candidates``, for a policy that needs no features.

    ``random`` draws them uniformly. ``balanced`` takes one point per class in turn and skips classes that have none
    left. It reads hidden labels, so it is for simulations only.

    Raises DalError for an unknown policy, and for balanced if too few labels are known or the task is another one.
    """
    if policy not in INITIAL_SETS or policy in FROM_FEATURES:
        raise unknown_choice("initial", [name for name in INITIAL_SETS if name not in FROM_FEATURES], policy)
    shuffled = candidates[torch.randperm(len(candidates), generator=generator)]
    if policy == "random":
        return shuffled[:size]
    if data.task.name != CLASSIFICATION.name:
        raise bad_value("initial", f"random with {data.task.name} data", policy)
    labels = data.labels[shuffled]
    known = int((labels >= 0).sum())
    if known < size:
        raise bad_content("initial", f"random, or {size} points with known labels to balance", f"balanced with {known}")
    turn = torch.full((len(shuffled),), len(shuffled))
    for label in range(data.num_classes):
        members = (labels == label).nonzero().flatten()
        turn[members] = torch.arange(len(members))
    return shuffled[torch.sort(turn, stable=True).indices[:size]]
