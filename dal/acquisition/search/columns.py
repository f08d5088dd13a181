"""Numbers of sites from logits in columns: (C, N), a row for each class and a column for each site.

Operations over the classes are faster on columns than on rows, which hold only C numbers each. Exponentials are
float32, and sums over classes are float64 unless said otherwise.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_LEAST = -87.0
"""A log-probability whose probability, 1e-38, does not change a sum. Unlike -inf, it has a product with 0."""


class Exponentials(NamedTuple):
    """Probabilities of N sites: weights / total, where weights = exp(shifted)."""

    shifted: Tensor  # (C, N) float32, the logits less the largest of each site
    weights: Tensor  # (C, N) float32
    total: Tensor  # (N,)


def exponentials(logits: Tensor, dtype: torch.dtype = torch.float64) -> Exponentials:
    """Return the exponentials of (C, N) logits, any floating dtype, with sums of ``dtype``.

    Log-probabilities are logits too. A site with a logit of NaN or +inf, or with only -inf, has the total NaN.

    >>> exponentials(torch.tensor([[1.0, -torch.inf], [1.0, -torch.inf]])).total
    tensor([2., nan], dtype=torch.float64)
    """
    logits = logits if logits.dtype == torch.float64 else logits.float()
    shifted = (logits - logits.amax(dim=0)).clamp_(min=_LEAST)
    weights = shifted.exp()
    return Exponentials(shifted, weights, weights.sum(dim=0, dtype=_sums(logits, dtype)))


def entropies(given: Exponentials) -> Tensor:
    """Return the (N,) entropies in nats, with the dtype of ``given.total``. Overwrites ``given.shifted``.

    >>> entropies(exponentials(torch.tensor([[0.5, 0.75], [0.5, 0.25]]).log()))
    tensor([0.6931, 0.5623], dtype=torch.float64)
    """
    shifted, weights, total = given
    # A logarithm for each site instead of one for each probability.
    products = shifted.mul_(weights).sum(dim=0, dtype=total.dtype)
    return total.log().sub_(products.div_(total)).clamp_(min=0)


def margins(given: Exponentials) -> Tensor:
    """Return the (N,) float64 gaps between the two largest probabilities. Overwrites ``given.weights``.

    >>> margins(exponentials(torch.tensor([[0.4, 0.75], [0.4, 0.25], [0.2, 0.0]]).log()))
    tensor([0.0000, 0.5000], dtype=torch.float64)
    """
    shifted, weights, total = given
    is_largest = first_largest(shifted)
    second = weights.masked_fill_(is_largest, 0).amax(dim=0)
    # The largest weight is 1.
    return (1 - second.to(total.dtype)) / total


def first_largest(shifted: Tensor) -> Tensor:
    """Return (C, N) bool: the largest of each site, of several the first.

    >>> first_largest(torch.tensor([[-1.0, 0.0], [0.0, 0.0]])).tolist()
    [[False, True], [True, False]]
    """
    ranked = _ranked(shifted)
    return ranked == ranked.amax(dim=0)


def classes(shifted: Tensor) -> Tensor:
    """Return the (N,) int64 class of the largest of each site, of several the first.

    >>> classes(torch.tensor([[-1.0, 0.0], [0.0, 0.0]])).tolist()
    [1, 0]
    """
    # Much faster than argmax over the first dimension.
    return (len(shifted) - _ranked(shifted).amax(dim=0)).long().clamp_(max=len(shifted) - 1)


def _ranked(shifted: Tensor) -> Tensor:
    """Return (C, N): where a site has its largest, 0, the number of classes from this one on; elsewhere 0."""
    ranks = torch.arange(len(shifted), 0, -1, dtype=torch.float32, device=shifted.device)
    return (shifted == 0) * ranks[:, None]


def _sums(values: Tensor, dtype: torch.dtype) -> torch.dtype:
    # Apple's devices have no float64.
    return torch.float32 if values.device.type == "mps" else dtype


def is_current(kind: type, shortcut: str) -> bool:
    """Return whether the shortcut of a class belongs to its summarize() and score().

    A subclass that overrides one of these and inherits the shortcut means its own method.

    >>> class Scores:
    ...     def score(self): ...
    ...     def site_summary(self): ...
    >>> class Own(Scores):
    ...     def score(self): ...
    >>> is_current(Scores, "site_summary"), is_current(Own, "site_summary")
    (True, False)
    """
    for one in kind.__mro__:
        if shortcut in vars(one):
            return True
        if "summarize" in vars(one) or "score" in vars(one):
            return False
    return False
