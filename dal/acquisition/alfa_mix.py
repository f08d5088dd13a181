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
from dal.acquisition.search.mixed_predictions import AnchorTable, linear_changes, linear_head, unit_directions
from dal.acquisition.search.numbers import check_finite, check_whole, in_double
from dal.acquisition.search.rows import Chosen
from dal.errors import bad_content, bad_value
from dal.runtime.ranges import Range

__all__ = ["ALFAMix", "alfa_mix_select", "class_anchors", "mixed_features"]


def class_anchors(features: Tensor, labels: Tensor) -> Tensor:
    """Compute the mean features of each class among labeled points.

    Args:
        features: (L, D) of the labeled points, any floating dtype.
        labels: (L,) int64 classes from 0; points with a negative label have no class and are ignored.

    Returns:
        (A, D) float64 on the CPU, one row for each of the A classes that occur, in ascending order.

    Raises:
        DalError: a shape is invalid, or no point has a class.
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
        raise bad_content("labels", "a class for at least one labeled point", f"none for all {len(labels)}")
    return torch.stack([points[labels == c].mean(dim=0) for c in classes])


def mixed_features(features: Tensor, gradients: Tensor, anchor: Tensor, epsilon: float) -> Tensor:
    """Mix an anchor into features such that the loss grows most (arXiv:2203.07034).

    For a point's features z and an anchor z*, the mix is α ∘ z* + (1 - α) ∘ z. With the gradient g of the loss in z,
    the mixing proportions are α = ε · |z* - z| / |g| · g ⊘ (z* - z) in closed form. They may be negative or above 1.
    Elements that are equal in z* and z do not change. Points whose gradient is all zeros do not change either.

    Args:
        features: (N, D), any floating dtype.
        gradients: (N, D) of the loss; each row may be scaled by any number above 0.
        anchor: (D,).
        epsilon: ε.

    Returns:
        (N, D) float64, or float32 on devices without float64.

    >>> features, gradients = torch.tensor([[0.0, 0.0, 7.0]]), torch.tensor([[2.0, 0.0, 0.0]])
    >>> mixed_features(features, gradients, torch.tensor([3.0, 4.0, 7.0]), 0.1).tolist()
    [[0.5, 0.0, 7.0]]
    """
    z = in_double(features)
    lengths, moves = _moves(z, unit_directions(in_double(gradients)), anchor)
    return z + epsilon * lengths * moves


def _moves(z: Tensor, directions: Tensor, anchor: Tensor) -> tuple[Tensor, Tensor]:
    """Return (N, 1) distances to the anchor, and the (N, D) directions of α ∘ (z* - z)."""
    differences = anchor.to(z) - z
    # The division in α cancels, except where z* - z is 0.
    moves = torch.where(differences != 0, directions, torch.zeros_like(directions))
    return torch.linalg.vector_norm(differences, dim=1, keepdim=True), moves


def alfa_mix_select(features: Tensor, changes: Tensor, query_size: int, generator: torch.Generator) -> Tensor:
    """Select by k-means among points whose prediction changes (arXiv:2203.07034).

    Each step mixes in more of the anchors than the step before. A point changes at a step if any anchor changes its
    prediction. The selection uses the first step at which more than Q points change, and clusters these points. If no
    step has more than Q, the selection uses the step with the most points that change. It then takes all of them, those
    with the most changes first, and fills the query with random other points.

    Args:
        features: (N, D) of the pool, any floating dtype.
        changes: (N, S) number of anchors that change the prediction, at each of S steps.
        query_size: Q, from 1 to N.
        generator: on the CPU.

    Returns:
        (Q,) int64 on the CPU: distinct rows, one near the center of each of Q clusters, larger clusters first.

    Raises:
        DalError: a shape or ``query_size`` is invalid.
        NonFiniteError: a number is NaN or infinite.

    >>> features = torch.tensor([[0.0], [1.0], [2.0], [50.0], [51.0]])
    >>> changes = torch.tensor([[0, 1], [0, 2], [1, 1], [0, 0], [0, 1]])
    >>> alfa_mix_select(features, changes, 2, torch.Generator().manual_seed(0))
    tensor([1, 4])
    """
    return _select(features, changes, query_size, generator).positions


@dataclass(frozen=True, eq=False)
class Anchors:
    """(A, D) mean features of classes.

    Instances compare by identity, so functions with different anchors are never equal.
    """

    means: Tensor
    _tables: dict[torch.device, AnchorTable] = field(default_factory=dict, init=False)

    def table_on(self, device: torch.device) -> AnchorTable:
        """Return the table on a device, made on the first call."""
        if device not in self._tables:
            self._tables[device] = AnchorTable(self.means.to(device))
        return self._tables[device]

    def __repr__(self) -> str:
        return f"<{self.means.shape[0]} of {self.means.shape[1]} features>"


@dataclass(frozen=True)
class ALFAMix(AcquisitionFunction):
    """Selects with ``alfa_mix_select``; keeps D + S numbers per point.

    The anchors are the ``class_anchors`` of the labeled points. The loss is the cross-entropy of the predicted class.
    summarize() computes its gradient through the head. For a linear head, ``linear_changes`` then takes one product for
    all mixes; any other head runs once for each anchor and step. A point's score is the number of anchors that change
    its prediction at the step used. Without anchors, no prediction changes.

    The authors' code uses the same steps but differs in three ways. For a class without labeled points, the anchor is
    the mean of all labeled points. It clusters features normalized to length 1. It fills the query by drawing with
    replacement.

    Args:
        epsilon: Mixing step before division by √D, above 0. Confident networks change few predictions at the first step
            (38 of 1,197 digits after 100 labels).
        steps: Number S of mixing steps; step s mixes with s times epsilon. With the defaults, the last step uses 1.
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
        unit = self.epsilon / math.sqrt(features.shape[1])
        epsilons = [(step + 1) * unit for step in range(self.steps)]
        head = linear_head(model, features)
        if head is not None:
            logits = model.head(features)
            check_finite("logits", logits)
            anchors = self.anchors.table_on(features.device)
            changes = linear_changes(head, features, logits, _errors(logits), anchors, epsilons)
            return {"features": features, "changes": changes}
        predicted, gradients = _ascent(model, features)
        z, directions = in_double(features), unit_directions(in_double(gradients))
        for anchor in self.anchors.means:
            lengths, moves = _moves(z, directions, anchor)
            for step, epsilon in enumerate(epsilons):
                logits = model.head((z + epsilon * lengths * moves).to(features.dtype))
                check_finite("logits", logits)
                changes[:, step] += logits.argmax(dim=1) != predicted
        return {"features": features, "changes": changes}

    def select(self, pool: Summary, labeled: Summary, query_size: int, generator: torch.Generator) -> Selection:
        return _select(pool["features"], pool["changes"], query_size, generator)


def _ascent(model: PoolModel, features: Tensor) -> tuple[Tensor, Tensor]:
    """Return (B,) predicted classes and (B, D) directions of increasing loss.

    The directions are the gradients of the cross-entropy in the features, up to a factor above 0 per point.
    """
    # Scoring runs in inference mode, whose tensors cannot track gradients. A copy made outside of it can.
    with torch.inference_mode(False), torch.enable_grad():
        z = features.detach().clone().requires_grad_()
        logits = model.head(z)
        if not logits.requires_grad:
            raise bad_content("head", "a differentiable layer", "one without gradients")
        check_finite("logits", logits)
        predicted = logits.argmax(dim=1, keepdim=True)
        if logits.shape[1] < 2:
            return predicted[:, 0], torch.zeros_like(features)
        errors = _errors(logits.detach())
        (gradients,) = torch.autograd.grad(logits, z, errors)
    return predicted[:, 0], gradients


def _errors(logits: Tensor) -> Tensor:
    """Return the (B, C) gradient of the loss in the logits, up to a factor above 0 per point."""
    if logits.shape[1] < 2:
        return torch.zeros_like(logits)
    # The gradient of the cross-entropy is p for the other classes and minus their sum for the predicted class. Dividing
    # by that sum gives a softmax over the other classes, which does not vanish when the prediction is very confident.
    predicted = logits.argmax(dim=1, keepdim=True)
    errors = in_double(logits).scatter(1, predicted, -torch.inf).softmax(dim=1)
    return errors.scatter(1, predicted, -1).to(logits.dtype)


def _select(features: Tensor, changes: Tensor, query_size: int, generator: torch.Generator) -> Selection:
    points = points_of("features", features)
    check_query_size(query_size, len(points))
    if changes.ndim != 2 or len(changes) != len(points) or not changes.shape[1]:
        raise bad_value("changes", f"shape ({len(points)}, S), one row per point", tuple(changes.shape))
    steps = changes.detach().cpu().double()
    check_finite("changes", steps)
    changing = (steps > 0).sum(dim=0)
    enough = changing > query_size
    # argmax returns the first of equal numbers.
    counts = steps[:, int((enough if bool(enough.any()) else changing).double().argmax())]
    candidates = (counts > 0).nonzero().flatten()
    if len(candidates) <= query_size:
        return top_scores(counts, query_size, generator)
    positions = candidates[k_means_picks(Chosen(points, candidates), query_size, generator)[0]]
    return Selection(positions, counts[positions])
