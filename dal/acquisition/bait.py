"""BAIT: label points by the Fisher information of the last layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dal.acquisition.base import AcquisitionFunction, PoolModel, Selection, Summary, check_dims, check_query_size
from dal.acquisition.search.fisher import Informative, forward_backward
from dal.acquisition.search.numbers import check_finite, check_whole, normalized_log_probs
from dal.errors import bad_value, unknown_choice
from dal.runtime.ranges import Range

__all__ = ["BAIT", "bait_select"]

FORMS = ("exact", "binary")
_MOST_BYTES = 2**31


def bait_select(
    probs: Tensor,
    features: Tensor,
    labeled_probs: Tensor,
    labeled_features: Tensor,
    query_size: int,
    *,
    form: str = "exact",
    regularization: float = 1.0,
    oversampling: int = 2,
) -> Tensor:
    """Minimize tr(M⁻¹ U) by forward-backward greedy selection (arXiv:2106.09675).

    U is the mean Fisher information of the pool points about the weights of the last layer. M is the summed information
    of the labeled and selected points plus ``regularization`` times the identity. The forward pass greedily adds 2 Q
    points, and the backward pass greedily removes Q of them. (The paper's code averages over the labeled points and
    weights labeled and selected points by their numbers. The information of independent labels is a sum.)

    ``form`` defines the information of a point:

    - exact: (diag(p) - p pᵀ) ⊗ h hᵀ over all classes, C D x C D (held as (C - 1) D, which gives the same traces). Costs
      2 N C² D² initially and again whenever the remaining gain has fallen by a factor of 1,000, plus
      4 N C² D + 8 C³ D² per step. Raises DalError if its matrices would exceed 2 GiB.
    - binary: q (1 - q) h hᵀ with the largest probability q, D x D (after arXiv:2404.08981). This is the exact
      information for a different question: whether the predicted class is right. The classes then share one weight
      vector, and the split of the remaining probability among the other classes has no effect. Costs 2 N D² in place
      of 2 N C² D², plus 4 N D + 8 D² per step. Holds 6 D² numbers and a few per point in addition to its inputs.

    All computation is in float64. Ties go to the lowest position; among equal points, the last one added is removed.

    Args:
        probs: (N, C) class probabilities of the pool, any floating dtype; float64 distinguishes those near 1.
        features: (N, D) inputs of the last layer, any floating dtype.
        labeled_probs: (L, C), L may be 0.
        labeled_features: (L, D).
        query_size: Q, from 1 to N.
        form: exact or binary.
        regularization: above 0. Below 1e-8 of the squared length of the features, rounding can cause the removal of
            suboptimal points.
        oversampling: points added per point of the query before the removal, at least 1.

    Returns:
        (Q,) int64 on the CPU: distinct rows in the order they were added.

    Raises:
        DalError: a shape or number is invalid, or the exact form is too large.
        NonFiniteError: a number is NaN or infinite.

    >>> probs = torch.tensor([[0.5, 0.5], [0.5, 0.5], [1.0, 0.0]])
    >>> features = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 9.0]])
    >>> bait_select(probs, features, probs[:0], features[:0], 1)
    tensor([1])
    """
    if form not in FORMS:
        raise unknown_choice("form", FORMS, form)
    _check_points("", probs, features)
    _check_points("labeled_", labeled_probs, labeled_features)
    of_pool, of_labeled = (_class_parts(p.detach().cpu().double(), form) for p in (probs, labeled_probs))
    pool, labeled = (of_pool, features), (of_labeled, labeled_features)
    return _select(pool, labeled, query_size, form, regularization, oversampling).positions


def _check_points(prefix: str, probs: Tensor, features: Tensor) -> None:
    count = "L" if prefix else "N"
    for argument, values, width in (("probs", probs, "C"), ("features", features, "D")):
        check_dims(prefix + argument, values, f"{count}, {width}")
        check_finite(prefix + argument, values)
    sums = probs.double().sum(dim=1)
    # The tolerance allows for half precision. The check is meant to catch logits.
    bad = (((sums - 1).abs() > 0.02) | (probs < 0).any(dim=1)).nonzero().flatten().tolist()
    if bad:
        found = f"a sum of {float(sums[bad[0]]):g} and a minimum of {float(probs[bad[0]].min()):g} at row {bad[0]}"
        raise bad_value(f"{prefix}probs", "rows of probabilities that sum to 1", found)


@dataclass(frozen=True)
class BAIT(AcquisitionFunction):
    """Selects with ``bait_select``; keeps C + D numbers per point.

    The binary form keeps 1 + D. A point's score is the decrease of the trace when the point was added.

    Args:
        form: Fisher information to use: exact (for some thousands of last-layer weights) or binary (for any number).
        regularization: Weight of the identity added to the Fisher information, above 0.
        oversampling: Points added greedily per point of the query, at least 1; the surplus is removed.
    """

    keeps: ClassVar[tuple[str, ...]] = ("class_parts", "inputs")
    uses_labeled_points: ClassVar[bool] = True

    form: str = "exact"
    regularization: float = 1.0
    oversampling: int = 2

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise unknown_choice("form", FORMS, self.form)
        _check_numbers(self.regularization, self.oversampling)

    def summarize(self, model: PoolModel, x: Tensor) -> Summary:
        features = model.features(x)
        check_finite("features", features)
        parts = _class_parts(normalized_log_probs("logits", model.head(features)).exp(), self.form)
        return {"class_parts": parts, "inputs": features}

    def select(self, pool: Summary, labeled: Summary, query_size: int, generator: torch.Generator) -> Selection:
        if not labeled or not len(labeled["inputs"]):
            labeled = {name: part[:0] for name, part in pool.items()}
        of_pool, of_labeled = ((points["class_parts"], points["inputs"]) for points in (pool, labeled))
        return _select(of_pool, of_labeled, query_size, self.form, self.regularization, self.oversampling)


def _check_numbers(regularization: float, oversampling: int) -> None:
    Range(0, 10**12, above=True).check("regularization", regularization)
    check_whole("oversampling", oversampling, most=1000)


def _class_parts(probs: Tensor, form: str) -> Tensor:
    """Return (N, C) probabilities, or (N, 1) roots of q (1 - q)."""
    if form == "exact":
        return probs
    predicted = probs.argmax(dim=1, keepdim=True)
    # 1 - q loses precision if q is near 1; the sum over the other classes does not.
    others = probs.scatter(1, predicted, 0).sum(dim=1, keepdim=True)
    return (probs.gather(1, predicted) * others).sqrt()


def _class_factors(parts: Tensor, form: str) -> Tensor:
    """Return (N, E, R) factors A of the class part A Aᵀ.

    The shape is (N, C - 1, C - 1) in the exact form and (N, 1, 1) in the binary form.
    """
    parts = parts.detach().cpu().double()
    if form == "binary":
        return parts[:, :, None]
    if parts.shape[1] == 1:
        return torch.zeros_like(parts)[:, :, None]
    # Half-precision probabilities do not sum to exactly 1.
    parts = parts / parts.sum(dim=1, keepdim=True)
    roots = parts.sqrt()
    factors = torch.diag_embed(roots) - parts[:, :, None] * roots[:, None, :]
    # The factors map the direction of the roots to 0. A reflection makes it the first column, which is then dropped.
    mirror = roots.clone()
    mirror[:, 0] += 1
    along = (factors @ mirror[:, :, None]) / (1 + roots[:, :1, None])
    return _contrasts(parts.shape[1]) @ (factors - along * mirror[:, None, :])[:, :, 1:]


def _contrasts(num_classes: int) -> Tensor:
    """Return (C - 1, C) orthonormal rows orthogonal to (1, ..., 1).

    Adding a constant to all logits changes no probability, so the information has no component along (1, ..., 1).
    Dropping that direction changes no trace and removes the rounding errors along it.
    """
    rows = torch.zeros(max(1, num_classes - 1), num_classes, dtype=torch.float64)
    for k in range(1, num_classes):
        rows[k - 1, :k], rows[k - 1, k] = 1, -k
        rows[k - 1] /= (k * (k + 1)) ** 0.5
    return rows


def _select(
    pool: tuple[Tensor, Tensor],
    labeled: tuple[Tensor, Tensor],
    query_size: int,
    form: str,
    regularization: float,
    oversampling: int,
) -> Selection:
    """Run ``bait_select`` on the points' ``_class_parts`` and features."""
    (parts, features), (labeled_parts, labeled_features) = pool, labeled
    check_query_size(query_size, len(parts))
    _check_numbers(regularization, oversampling)
    if len(parts) != len(features) or len(labeled_parts) != len(labeled_features):
        raise bad_value("features", f"{len(parts)} and {len(labeled_parts)} rows, as in probs", len(features))
    if labeled_features.shape[1] != features.shape[1] or labeled_parts.shape[1] != parts.shape[1]:
        expected = f"{parts.shape[1]} classes and {features.shape[1]} features, as in the pool"
        raise bad_value("labeled_features", expected, f"{labeled_parts.shape[1]} and {labeled_features.shape[1]}")
    if form == "exact":
        _check_size(len(parts), parts.shape[1], features.shape[1])
    check_finite("features", features)
    check_finite("labeled_features", labeled_features)
    points, others = (
        Informative(_class_factors(p, form), h.detach().cpu())
        for p, h in ((parts, features), (labeled_parts, labeled_features))
    )
    collected = others.information()
    collected.diagonal().add_(regularization)
    target = points.information() / len(points)
    positions, falls = forward_backward(points, collected, target, query_size, oversampling)
    return Selection(torch.tensor(positions), torch.tensor(falls, dtype=torch.float64))


def _check_size(num_points: int, num_classes: int, num_features: int) -> None:
    num_bytes = 8 * (6 * ((num_classes - 1) * num_features) ** 2 + 8 * num_points * num_classes**2)
    if num_bytes > _MOST_BYTES:
        sizes = f"{num_points} points, {num_classes} classes and {num_features} features"
        raise bad_value(
            "form",
            "binary, because exact Fisher information is limited to 2 GiB",
            f"exact with {num_bytes / 2**30:.1f} GiB for {sizes}",
        )
