"""BADGE: label points whose gradients are large and point in different directions (k-means++ on gradients)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from dal.acquisition.base import (
    AcquisitionFunction,
    PoolModel,
    Selection,
    Summary,
    check_dims,
    check_finite,
    check_query_size,
    in_double,
    normalized_log_probs,
    row_blocks,
    unit_scale,
)
from dal.errors import bad_value

__all__ = ["BADGE", "badge_select", "badge_weights"]

# A squared distance below this part of |g|² + |g'|² has lost digits in the subtraction and is computed anew. What is
# kept has lost at most three of float64's sixteen.
_CANCELS = 1e-3


def badge_select(probs: Tensor, features: Tensor, query_size: int, generator: torch.Generator) -> Tensor:
    """k-means++ seeding on the gradient of the loss at the last layer, the predicted class taken as true
    (arXiv:1906.03671).

    The gradient of a point is g = (p - onehot(argmax p)) ⊗ h for class probabilities p and features h. It is never
    formed: the distances come from inner products of its two factors. As k-means++ has it (Arthur and Vassilvitskii,
    2007) the first point is uniform at random, each next one is drawn with probability proportional to the squared
    distance to the nearest point taken; the BADGE authors' code takes the point of the largest gradient first. Where
    all that is left lies on points taken, the draw is uniform over what is left.

    Args:
        probs: (N, C) class probabilities, any floating dtype. In float64 the gradients of very sure points keep their
            length; in less, 1 - p is rounded away.
        features: (N, D) inputs of the last layer, any floating dtype.
        query_size: Q, from 1 to N.
        generator: on the CPU; one number is drawn from it for each point taken.

    Returns:
        (Q,) int64 on the CPU: distinct rows in the order they were taken.

    Raises:
        DalError: a shape or ``query_size`` is not as above, or a row of ``probs`` is no distribution.
        NonFiniteError: a number is NaN or infinite.

    >>> probs = torch.tensor([[0.5, 0.5], [1.0, 0.0], [0.4, 0.6]])
    >>> badge_select(probs, torch.eye(3), 2, torch.Generator().manual_seed(0))
    tensor([2, 0])
    """
    return _sample(probs, features, query_size, generator).positions


def badge_weights(probs: Tensor, features: Tensor, chosen: Sequence[int]) -> Tensor:
    """The weights with which ``badge_select`` draws its next point, once it has taken ``chosen``.

    Args:
        probs: (N, C) class probabilities, any floating dtype.
        features: (N, D) inputs of the last layer, any floating dtype.
        chosen: rows taken so far, in any order; may be empty.

    Returns:
        (N,) float64: squared distances of the gradients to the nearest chosen one, 0 for the chosen; all 1 if none is.

    Raises:
        DalError: a shape is not as above, or a row of ``probs`` is no distribution.
        NonFiniteError: a number is NaN or infinite.

    >>> badge_weights(torch.tensor([[0.5, 0.5], [1.0, 0.0]]), torch.ones(2, 3), [1])
    tensor([1.5000, 0.0000], dtype=torch.float64)
    """
    gradients = _Gradients(probs, features)
    weights = gradients.first_weights()
    for count, position in enumerate(chosen):
        weights = gradients.next_weights(weights if count else None, position)
    return weights / gradients.scale**2 if len(chosen) else weights


@dataclass(frozen=True)
class BADGE(AcquisitionFunction):
    """``badge_select`` on the network's predictions; C + D numbers a point are kept.

    A point's score is the probability with which it was drawn when it was taken.
    """

    def summarize(self, model: PoolModel, x: Tensor) -> Summary:
        features = model.features(x)
        check_finite("features", features)
        return normalized_log_probs("logits", model.head(features)).exp(), features

    def select(self, pool: Summary, labeled: Summary, query_size: int, generator: torch.Generator) -> Selection:
        probs, features = pool
        return _sample(probs, features, query_size, generator)


def _sample(probs: Tensor, features: Tensor, query_size: int, generator: torch.Generator) -> Selection:
    gradients = _Gradients(probs, features)
    check_query_size(query_size, len(probs))
    left = torch.ones(len(probs), dtype=torch.float64)
    weights = gradients.first_weights()
    positions: list[int] = []
    scores: list[float] = []
    while True:
        pick, score = _draw(weights if bool(weights.any()) else left, generator)
        positions.append(pick)
        scores.append(score)
        if len(positions) == query_size:
            return Selection(torch.tensor(positions), torch.tensor(scores, dtype=torch.float64))
        left[pick] = 0
        weights = gradients.next_weights(weights if len(positions) > 1 else None, pick)


def _draw(weights: Tensor, generator: torch.Generator) -> tuple[int, float]:
    """A position drawn in proportion to the weights (N,), and its probability; never one of weight 0."""
    cumulative = weights.cumsum(dim=0)
    total = cumulative[-1]
    target = torch.rand((), generator=generator, dtype=torch.float64) * total
    # The product may round up to the total, beyond which there is no point.
    target = torch.minimum(target, torch.nextafter(total, torch.zeros_like(total)))
    pick = int(torch.searchsorted(cumulative, target, right=True))
    return pick, float(weights[pick] / total)


class _Gradients:
    """Squared distances between gradients g = a ⊗ h that exist only as their factors: a of C numbers, h of D.

    Features are scaled by ``scale``, a power of two, so distances are too.
    """

    def __init__(self, probs: Tensor, features: Tensor) -> None:
        check_dims("probs", probs, "N, C")
        check_dims("features", features, "N, D")
        if len(probs) != len(features):
            raise bad_value("features", f"{len(probs)} rows, as in probs", len(features))
        check_finite("probs", probs)
        check_finite("features", features)
        # Half precision is allowed its rounding; logits are what this should catch.
        is_bad = ((probs.sum(dim=1, dtype=torch.float32) - 1).abs() > 0.02) | (probs < 0).any(dim=1)
        if bool(is_bad.any()):
            row = int(is_bad.nonzero()[0])
            got = f"a sum of {float(probs[row].sum()):g} and a smallest of {float(probs[row].min()):g} at row {row}"
            raise bad_value("probs", "rows of probabilities that sum to 1", got)
        self.probs = probs
        self.features = features.to(probs.device)
        self.predicted = probs.argmax(dim=1)
        self.scale = unit_scale(features)

    def first_weights(self) -> Tensor:
        """(N,) float64 on the CPU, all 1."""
        return torch.ones(len(self.probs), dtype=torch.float64)

    def next_weights(self, weights: Tensor | None, pick: int) -> Tensor:
        """(N,) float64 on the CPU: squared distances to the nearest point taken, once ``pick`` is taken too."""
        distances = self.squared_distances(pick)
        return distances if weights is None else torch.minimum(weights, distances)

    def factors(self, block: slice) -> tuple[Tensor, Tensor]:
        a = in_double(self.probs[block]) - one_hot(self.predicted[block], self.probs.shape[1])
        return a, in_double(self.features[block]) * self.scale

    def squared_distances(self, center: int) -> Tensor:
        """(N,) float64 on the CPU, from one point."""
        a_center, h_center = (factor[0] for factor in self.factors(slice(center, center + 1)))
        center_squared = a_center.square().sum() * h_center.square().sum()
        found = torch.empty(len(self.probs), dtype=torch.float64)
        for block in row_blocks(len(self.probs), self.probs.shape[1] + self.features.shape[1]):
            a, h = self.factors(block)
            size = a.square().sum(dim=1) * h.square().sum(dim=1) + center_squared
            distances = size - 2 * (a @ a_center) * (h @ h_center)
            close = distances < _CANCELS * size
            distances[close] = _squared_distances_of_close(a[close], h[close], a_center, h_center)
            found[block] = distances.cpu()
        return found


def _squared_distances_of_close(a: Tensor, h: Tensor, a_center: Tensor, h_center: Tensor) -> Tensor:
    """|a ⊗ h - a' ⊗ h'|² without cancellation: exactly 0 where both factors are equal. (P, C), (P, D) -> (P,).

    Each factor is split along its counterpart and across it. That makes four blocks of the difference which are
    orthogonal, so their squares add up, and each is written in the differences a - a' and h - h'.
    """
    a_along, a_across, a_length = _split(a, a_center)
    h_along, h_across, h_length = _split(h, h_center)
    both_along = a_length * h_along + h_length * a_along + a_along * h_along
    return (
        both_along.square()
        + (a_length + a_along).square() * h_across
        + (h_length + h_along).square() * a_across
        + a_across * h_across
    )


def _split(x: Tensor, center: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """x - center (P, D) along the direction of the center, (P,); its square across it, (P,); the center's length."""
    length = center.norm()
    direction = center / length if bool(length > 0) else torch.zeros_like(center)
    difference = x - center
    along = difference @ direction
    return along, (difference - along[:, None] * direction).square().sum(dim=1), length
