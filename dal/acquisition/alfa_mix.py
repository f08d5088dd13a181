"""ALFA-Mix: label points whose prediction changes when labeled features are mixed in."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from dal.acquisition.base import (
    AcquisitionFunction,
    PoolModel,
    Selection,
    Summary,
    check_dims,
    check_query_size,
    top_scores,
)
from dal.acquisition.search.clusters import k_means_picks, points_of
from dal.acquisition.search.numbers import check_finite, check_whole, in_double
from dal.errors import bad_value
from dal.runtime.ranges import Range

__all__ = ["ALFAMix", "alfa_mix_select", "class_anchors", "mixed_features"]


def class_anchors(features: Tensor, labels: Tensor) -> Tensor:
    """The mean features of each class among labeled points.

    Args:
        features: (L, D) of the labeled points, any floating dtype.
        labels: (L,) int64 classes from 0; points with a negative label are of no class and left out.

    Returns:
        (A, D) float64 on the CPU, one row for each of the A classes that occur, in their order.

    Raises:
        DalError: a shape is not as above, or no point has a class.
        NonFiniteError: a feature is NaN or infinite.

    >>> class_anchors(torch.tensor([[1.0], [3.0], [9.0], [5.0]]), torch.tensor([4, 4, -2, 0]))
    tensor([[5.],
            [2.]], dtype=torch.float64)
    """
    check_dims("features", features, "L, D")
    check_finite("features", features)
    if labels.shape != (len(features),):
        raise bad_value("labels", f"shape ({len(features)},), as features", tuple(labels.shape))
    labels, points = labels.cpu(), features.detach().cpu().double()
    classes = sorted({c for c in labels.tolist() if c >= 0})
    if not classes:
        raise bad_value("labels", "a class for at least one of the labeled points", f"none for all {len(labels)}")
    return torch.stack([points[labels == c].mean(dim=0) for c in classes])


def mixed_features(features: Tensor, gradients: Tensor, anchor: Tensor, epsilon: float) -> Tensor:
    """Features with an anchor mixed in, in the proportions that raise the loss the most (arXiv:2203.07034).

    The mix is α ∘ z* + (1 - α) ∘ z for a point's features z and an anchor z*, with the closed form of the proportions,
    α = ε · |z* - z| / |g| · g ⊘ (z* - z), for the gradient g of the loss in z. They may be negative or above 1. Where
    an element of z* is that of z, mixing leaves it as it is; a gradient of zeros leaves the whole point.

    Args:
        features: (N, D), any floating dtype.
        gradients: (N, D) of the loss; each row may be multiplied by any number above 0.
        anchor: (D,).
        epsilon: ε.

    Returns:
        (N, D) float64 (float32 where the device has no float64).

    >>> features, gradients = torch.tensor([[0.0, 0.0, 7.0]]), torch.tensor([[2.0, 0.0, 0.0]])
    >>> mixed_features(features, gradients, torch.tensor([3.0, 4.0, 7.0]), 0.1).tolist()
    [[0.5, 0.0, 7.0]]
    """
    z, g = in_double(features), in_double(gradients)
    differences = anchor.to(z) - z
    # Divided by the largest element first, as squares of small ones could be 0.
    largest = g.abs().amax(dim=1, keepdim=True)
    g = g / torch.where(largest > 0, largest, torch.ones_like(largest))
    lengths = torch.linalg.vector_norm(g, dim=1, keepdim=True)
    directions = g / torch.where(lengths > 0, lengths, torch.ones_like(lengths))
    # α ∘ (z* - z), in which the division cancels but where it is by 0.
    steps = epsilon * torch.linalg.vector_norm(differences, dim=1, keepdim=True) * directions
    return z + torch.where(differences != 0, steps, torch.zeros_like(steps))


def alfa_mix_select(features: Tensor, changes: Tensor, query_size: int, generator: torch.Generator) -> Tensor:
    """k-means among the points whose prediction changes under any anchor (arXiv:2203.07034).

    Mixing in more and more of the anchors, the first step counts at which more than Q points change; where there is
    none, the one with the most. Its points are then all taken, those with more changes first, and others at random.

    Args:
        features: (N, D) of the pool, any floating dtype.
        changes: (N, S) under how many anchors the prediction changes, at each of S steps.
        query_size: Q, from 1 to N.
        generator: on the CPU.

    Returns:
        (Q,) int64 on the CPU: distinct rows, one near each center of Q clusters; larger clusters first.

    Raises:
        DalError: a shape or ``query_size`` is not as above.
        NonFiniteError: a number is NaN or infinite.

    >>> features = torch.tensor([[0.0], [1.0], [2.0], [50.0], [51.0]])
    >>> changes = torch.tensor([[0, 1], [0, 2], [1, 1], [0, 0], [0, 1]])
    >>> alfa_mix_select(features, changes, 2, torch.Generator().manual_seed(0))
    tensor([1, 4])
    """
    return _select(features, changes, query_size, generator).positions


@dataclass(frozen=True, eq=False)
class Anchors:
    """(A, D) mean features. Equal to itself alone, so that functions with other anchors are other functions."""

    means: Tensor

    def __repr__(self) -> str:
        return f"<{self.means.shape[0]} of {self.means.shape[1]} features>"


@dataclass(frozen=True)
class ALFAMix(AcquisitionFunction):
    """``alfa_mix_select``: D + S numbers a point are kept.

    The anchors are the ``class_anchors`` of the labeled points. The loss is the cross entropy of the predicted class,
    its gradient is taken through the head, and the head runs once more for each anchor and step, all of it in
    summarize(). A point's score is under how many anchors its prediction changed. Without anchors none does.

    The authors' code, which has the same steps, differs otherwise: it puts the mean of all labeled points in the place
    of classes without one, clusters features of length 1, and draws what is missing with replacement.

    Args:
        epsilon: Mixing step, above 0, as a share of √D. Sure networks change few predictions at the first step (38 of
            1,197 digits after 100 labels).
        steps: Number S of mixing steps; step s mixes s times epsilon. The defaults end at 1.
    """

    keeps: ClassVar[tuple[str, ...]] = ("features", "changes")
    learns_from_labels: ClassVar[bool] = True

    epsilon: float = 0.2
    steps: int = 5
    anchors: Anchors | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        Range(0, 1000, "a finite number", above=True).check("epsilon", self.epsilon)
        check_whole("steps", self.steps, most=1000)

    def with_labeled(self, labeled: Summary, labels: Tensor) -> ALFAMix:
        anchored = replace(self)
        object.__setattr__(anchored, "anchors", Anchors(class_anchors(labeled["features"], labels)))
        return anchored

    def summarize(self, model: PoolModel, x: Tensor) -> Summary:
        features = model.features(x)
        check_finite("features", features)
        changes = torch.zeros(len(features), self.steps, device=features.device)
        if self.anchors is None:
            return {"features": features, "changes": changes}
        predicted, gradients = _ascent(model, features)
        for step in range(self.steps):
            epsilon = (step + 1) * self.epsilon / math.sqrt(features.shape[1])
            for anchor in self.anchors.means:
                mixed = mixed_features(features, gradients, anchor, epsilon).to(features.dtype)
                logits = model.head(mixed)
                check_finite("logits", logits)
                changes[:, step] += logits.argmax(dim=1) != predicted
        return {"features": features, "changes": changes}

    def select(self, pool: Summary, labeled: Summary, query_size: int, generator: torch.Generator) -> Selection:
        return _select(pool["features"], pool["changes"], query_size, generator)


def _ascent(model: PoolModel, features: Tensor) -> tuple[Tensor, Tensor]:
    """(B,) predicted classes, and (B, D) in which direction of the features their cross entropy grows: its gradient up
    to a factor."""
    # Scoring runs in inference mode, whose tensors have no gradients; a copy made outside has.
    with torch.inference_mode(False), torch.enable_grad():
        z = features.detach().clone().requires_grad_()
        logits = model.head(z)
        if not logits.requires_grad:
            raise bad_value("head", "a layer through which gradients flow", "one without")
        check_finite("logits", logits)
        predicted = logits.argmax(dim=1, keepdim=True)
        if logits.shape[1] < 2:
            return predicted[:, 0], torch.zeros_like(features)
        # Of cross entropy: p of the others, and minus their sum. Divided by that sum it is a softmax, which does not
        # vanish for very sure points.
        errors = in_double(logits.detach()).scatter(1, predicted, -torch.inf).softmax(dim=1)
        errors = errors.scatter(1, predicted, -1).to(logits.dtype)
        (gradients,) = torch.autograd.grad(logits, z, errors)
    return predicted[:, 0], gradients


def _select(features: Tensor, changes: Tensor, query_size: int, generator: torch.Generator) -> Selection:
    points = points_of("features", features)
    check_query_size(query_size, len(points))
    if changes.ndim != 2 or len(changes) != len(points) or not changes.shape[1]:
        raise bad_value("changes", f"shape ({len(points)}, S), a row for each of the features", tuple(changes.shape))
    steps = changes.detach().cpu().double()
    check_finite("changes", steps)
    changing = (steps > 0).sum(dim=0)
    enough = changing > query_size
    # Of equal numbers argmax is the first.
    counts = steps[:, int((enough if bool(enough.any()) else changing).double().argmax())]
    candidates = (counts > 0).nonzero().flatten()
    if len(candidates) <= query_size:
        return top_scores(counts, query_size, generator)
    positions = candidates[k_means_picks(points[candidates], query_size, generator)[0]]
    return Selection(positions, counts[positions])
