"""Expected gradient length: label points that would change the last layer most."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dal.acquisition.base import PoolModel, ScoreFunction, check_dims
from dal.acquisition.search.numbers import check_finite, in_double, normalized_log_probs
from dal.errors import bad_value

__all__ = ["EGL", "egl_scores"]


def egl_scores(logits: Tensor, features: Tensor, *, bias: bool = True) -> Tensor:
    """Compute the expected length of the cross-entropy gradient at the last layer.

    The expectation is over the predicted class probabilities (Settles and Craven, 2008; arXiv:1612.03226). With
    probabilities p and features h, the gradient for class c is (p - e_c) ⊗ h in the weights and p - e_c in the bias.
    The expectation thus has a closed form: Σ_c p_c |p - e_c| · sqrt(|h|² + 1), or · |h| without a bias.

    Args:
        logits: (N, C), any floating dtype; log-probabilities are logits too. -inf is a probability of 0.
        features: (N, D) inputs of the last layer, any floating dtype.
        bias: whether to include the gradient of a bias.

    Returns:
        (N,) float64 from 0 (certain).

    Raises:
        DalError: a shape is invalid.
        NonFiniteError: a row of ``logits`` holds NaN or +inf, or only -inf; a feature is NaN or infinite.

    >>> logits, features = torch.tensor([[0.0, 0.0], [0.0, -torch.inf]]), torch.tensor([[3.0, 4.0], [3.0, 4.0]])
    >>> egl_scores(logits, features, bias=False) / 2**0.5
    tensor([2.5000, 0.0000], dtype=torch.float64)
    """
    check_dims("logits", logits, "N, C")
    check_dims("features", features, "N, D")
    if len(logits) != len(features):
        raise bad_value("features", f"{len(logits)} rows, as in logits", len(features))
    if logits.shape[1] < 1 or features.shape[1] < 1:
        raise bad_value("logits and features", "at least one class and one feature", (logits.shape, features.shape))
    check_finite("features", features)
    probs = normalized_log_probs("logits", logits).exp()
    predicted = probs.argmax(dim=1, keepdim=True)
    # 1 - p loses precision if p is near 1; the sum over the other classes does not.
    others = probs.scatter(1, predicted, 0)
    of_predicted = (others.sum(dim=1).square() + others.square().sum(dim=1)).sqrt()
    of_others = (1 - 2 * others + probs.square().sum(dim=1, keepdim=True)).sqrt()
    expected = probs.gather(1, predicted)[:, 0] * of_predicted + (others * of_others).sum(dim=1)
    lengths = _lengths(in_double(features))
    return expected * (torch.hypot(lengths, torch.ones_like(lengths)) if bias else lengths)


def _lengths(rows: Tensor) -> Tensor:
    """Return Euclidean norms whose squares neither overflow nor underflow."""
    largest = rows.abs().amax(dim=1, keepdim=True)
    largest = torch.where(largest > 0, largest, torch.ones_like(largest))
    return (rows / largest).square().sum(dim=1).sqrt() * largest[:, 0]


@dataclass(frozen=True)
class EGL(ScoreFunction):
    """Selects the highest ``egl_scores`` first.

    Args:
        bias: Whether to include the gradient of the last layer's bias.
    """

    bias: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.bias, bool):
            raise bad_value("bias", "true or false", self.bias)

    def score(self, model: PoolModel, x: Tensor) -> Tensor:
        features = model.features(x)
        return egl_scores(model.head(features), features, bias=self.bias)
