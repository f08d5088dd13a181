"""Selects the initial set by features that exist before any label."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from dal.data.images import ImageData
from dal.errors import bad_value, unknown_choice
from dal.labeling.initial_set import FROM_FEATURES, INITIAL_SETS, initial_set
from dal.models.adapt import as_adapted
from dal.runtime.seeding import derive_seed, generator, isolated_rng
from dal.scoring.config import ScoringConfig
from dal.scoring.external_features import check_external_features
from dal.scoring.model_pass import ModelPass
from dal.scoring.select import KnownPoints, Points, select_points

State = Mapping[str, Tensor]


def check_initial_features(
    policy: str, config: ScoringConfig, num_points: int, first: State, make: Callable[[], Any] | None, seed: int
) -> None:
    """Raise DalError if a policy needs features and there are only those of random weights.

    ``first`` are the initial weights of the network that ``make`` returns. Weights that differ with the seed are
    random. ``make`` is None for a given module, whose weights are taken as pre-trained. A features file needs one row
    for each of the ``num_points`` training images.
    """
    if policy not in INITIAL_SETS:
        raise unknown_choice("campaign.initial", INITIAL_SETS, policy)
    if policy not in FROM_FEATURES:
        return
    if config.features_file is not None:
        check_external_features(config.features_file, num_points)
    elif make is not None:
        with isolated_rng(seed, "other weights"):
            other = as_adapted(make()).module.state_dict()
        if not mostly_equal(first, other):
            remedy = "set model.weights=DEFAULT or a path, or scoring.features_file"
            raise bad_value("campaign.initial", f"random for a network with random weights ({remedy})", policy)


def initial_points(
    passes: ModelPass, policy: str, points: Points, seen: Callable[[ImageData], ImageData], query_size: int, seed: int
) -> Tensor:
    """Return (Q,) int64 of the (N,) points, best first.

    A policy of FROM_FEATURES reads scoring.features_file, or else the features of the network for the images that
    ``seen`` returns. It reads no labels.
    """
    data, candidates = points
    if policy not in FROM_FEATURES:
        return initial_set(policy, candidates, data, query_size, generator(seed, "initial"))
    data = data if passes.config.features_file else seen(data)
    known = KnownPoints(data, candidates[:0], data.labels[:0])
    # Another seed than that of the first query, which is of the same round.
    seed = derive_seed(seed, "initial")
    chosen = select_points(passes, FROM_FEATURES[policy], (data, candidates), known, query_size, seed=seed)
    return candidates[chosen.positions]


def mostly_equal(one: State, other: State) -> bool:
    """Whether most weights of two networks are equal.

    Only matrices and kernels count, because biases and normalization layers start with the same constants.

    >>> import torch
    >>> mostly_equal({"w": torch.zeros(2, 2), "b": torch.zeros(9)}, {"w": torch.ones(2, 2), "b": torch.zeros(9)})
    False
    """
    weights = [name for name, value in one.items() if value.ndim > 1 and value.is_floating_point() and name in other]
    total = sum(one[name].numel() for name in weights)
    equal = sum(int((one[name] == other[name]).sum()) for name in weights if one[name].shape == other[name].shape)
    return 2 * equal > total
