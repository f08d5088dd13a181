"""DropQuery: label points whose prediction changes when features are dropped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dal.acquisition.base import MOST_DRAWS, AcquisitionFunction, PoolModel, Selection, Summary, check_query_size
from dal.acquisition.search.clusters import k_means_picks, points_of
from dal.acquisition.search.numbers import check_finite, check_whole
from dal.acquisition.search.rows import Chosen
from dal.errors import bad_value
from dal.runtime.ranges import Range

__all__ = ["DropQuery", "drop_query_select", "feature_masks"]

_SEED = 20240114


def feature_masks(num_draws: int, num_features: int, rate: float) -> Tensor:
    """Return (K, D) float64 multipliers that drop features in each draw.

    A multiplier is 0 for a dropped feature and 1 / (1 - rate) for the others. The seed is constant, so draw k is the
    same network for the whole pool, on every device, in every round and for every batch size.

    >>> feature_masks(2, 6, 0.5).unique()
    tensor([0., 2.], dtype=torch.float64)
    """
    generator = torch.Generator().manual_seed(_SEED)
    kept = torch.rand(num_draws, num_features, generator=generator, dtype=torch.float64) >= rate
    return kept.double() / (1 - rate)


def drop_query_select(
    features: Tensor, disagreements: Tensor, query_size: int, generator: torch.Generator, num_draws: int = 3
) -> Tensor:
    """Select by k-means among points with inconsistent predictions (arXiv:2401.14555).

    A prediction is inconsistent if it changes in more than half of the draws. If fewer than Q points qualify, the
    required number of draws decreases one by one until at least Q do.

    Args:
        features: (N, D) of the pool, any floating dtype.
        disagreements: (N,) number of draws that change the prediction made with all features.
        query_size: Q, from 1 to N.
        generator: on the CPU; one number is drawn from it.
        num_draws: K.

    Returns:
        (Q,) int64 on the CPU: distinct rows, one near the center of each of Q clusters, larger clusters first.

    Raises:
        DalError: a shape or ``query_size`` is invalid.
        NonFiniteError: a number is NaN or infinite.

    >>> features = torch.tensor([[0.0], [1.0], [2.0], [50.0]])
    >>> drop_query_select(features, torch.tensor([3, 1, 2, 0]), 2, torch.Generator().manual_seed(0)).sort().values
    tensor([0, 2])
    """
    return _select(features, disagreements, query_size, generator, num_draws).positions


@dataclass(frozen=True)
class DropQuery(AcquisitionFunction):
    """Selects with ``drop_query_select``; keeps D + 1 numbers per point.

    The defaults are the paper's. summarize() makes the draws because select() has no access to the head. It runs the
    head once per draw on features multiplied by ``feature_masks``, so a draw drops the same features for the whole
    pool. The network needs no dropout layers. A point's score is the number of draws that change its prediction.

    Args:
        num_draws: Number K of draws, each of which drops features at random, at least 1.
        rate: Probability that a feature is dropped, at least 0 and below 1.
    """

    keeps: ClassVar[tuple[str, ...]] = ("features", "disagreements")

    num_draws: int = 3
    rate: float = 0.75

    def __post_init__(self) -> None:
        check_whole("num_draws", self.num_draws, most=MOST_DRAWS)
        Range(0, 1, "a probability", below=True).check("rate", self.rate)

    def summarize(self, model: PoolModel, x: Tensor) -> Summary:
        features = model.features(x)
        check_finite("features", features)
        predicted = _predicted(model, features)
        masks = feature_masks(self.num_draws, features.shape[1], self.rate).to(features.device, features.dtype)
        changed = [_predicted(model, features * mask) != predicted for mask in masks]
        return {"features": features, "disagreements": torch.stack(changed).sum(dim=0).float()}

    def select(self, pool: Summary, labeled: Summary, query_size: int, generator: torch.Generator) -> Selection:
        return _select(pool["features"], pool["disagreements"], query_size, generator, self.num_draws)


def _predicted(model: PoolModel, features: Tensor) -> Tensor:
    logits = model.head(features)
    check_finite("logits", logits)
    return logits.argmax(dim=1)


def _select(
    features: Tensor, disagreements: Tensor, query_size: int, generator: torch.Generator, num_draws: int
) -> Selection:
    points = points_of("features", features)
    check_query_size(query_size, len(points))
    if disagreements.shape != (len(points),):
        raise bad_value("disagreements", f"shape ({len(points)},), as features", tuple(disagreements.shape))
    counts = disagreements.detach().cpu().double()
    check_finite("disagreements", counts)
    least = num_draws // 2 + 1
    while int((counts >= least).sum()) < query_size:
        least -= 1
    candidates = (counts >= least).nonzero().flatten()
    positions = candidates[k_means_picks(Chosen(points, candidates), query_size, generator)[0]]
    return Selection(positions, counts[positions])
