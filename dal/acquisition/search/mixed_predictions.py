"""Which mixes of features change the prediction of a linear head.

A mix moves features z by σ d, for a direction d and a length σ that differs for each anchor and step. The logits of a
linear head move by σ (W d), where d is a sum of rows of W. The products of these rows and one product of the features
therefore give the logits of all mixes, and the prediction changes exactly if σ exceeds a threshold.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from dal.acquisition.search.numbers import check_finite, row_blocks

_BLOCK, _GPU_BLOCK = 2**16, 2**25  # numbers; the first fits in a CPU's cache


class LinearHead(NamedTuple):
    """Logits W z + b: (C, D) float32 weights and a (C,) float32 bias."""

    weight: Tensor
    bias: Tensor


def linear_head(model: object, features: Tensor) -> LinearHead | None:
    """Return the weights of a model's head, or None if products cannot replace it.

    The model tells them in ``linear_head()``, an optional method of a PoolModel. Under autocast, the head itself rounds
    more than float32.
    """
    find = getattr(model, "linear_head", None)
    device = features.device.type
    if find is None or features.dtype != torch.float32 or device == "mps" or torch.is_autocast_enabled(device):
        return None
    found = find()
    if found is None or any(part.dtype != torch.float32 for part in found):
        return None
    return LinearHead(*(part.detach() for part in found))


def unit_directions(gradients: Tensor) -> Tensor:
    """Return (N, D) gradients of length 1; rows of zeros stay."""
    # Dividing by the largest element first keeps the squares of small elements from underflowing.
    largest = gradients.abs().amax(dim=1, keepdim=True)
    g = gradients / torch.where(largest > 0, largest, torch.ones_like(largest))
    lengths = torch.linalg.vector_norm(g, dim=1, keepdim=True)
    return g / torch.where(lengths > 0, lengths, torch.ones_like(lengths))


class _Weights(NamedTuple):
    """The weights of a head."""

    given: Tensor
    high: Tensor
    """In float64."""
    gram: Tensor | None
    """(C, C) products of the rows; None if they are more numbers than the weights."""
    least: Tensor
    """Slopes below this number, times the length of a direction, are rounding errors, as between two equal rows."""


class AnchorTable:
    """The (A, D) float64 means of anchors, and their elements that float32 features can equal.

    A mean between two float32 numbers equals none. Few elements are left to compare, except for classes of one point.
    Zeros are separate, because they are frequent.
    """

    def __init__(self, means: Tensor) -> None:
        self.means, self.squares = means, means.square().sum(dim=1)
        self._weights: _Weights | None = None
        is_zero = means == 0
        self.zero_columns = is_zero.any(dim=0).nonzero()[:, 0]
        self.zeros = [row.nonzero()[:, 0] for row in is_zero[:, self.zero_columns]]  # places in zero_columns
        self.with_zeros = {place for place, columns in enumerate(self.zeros) if len(columns)}
        low = means.float()
        can_equal = (low == means) & ~is_zero
        counts = can_equal.sum(dim=0)
        # Row k holds the k-th such element of each column, or NaN, which equals no feature.
        self._anchors = can_equal.int().argsort(dim=0, descending=True, stable=True)[: int(counts.max())]
        is_missing = torch.arange(len(self._anchors), device=means.device)[:, None] >= counts
        self._values = low.gather(0, self._anchors).masked_fill_(is_missing, torch.nan)

    def weights_of(self, head: LinearHead) -> _Weights:
        """Return the weights of a head, which are converted once if the next batch has the same."""
        if self._weights is None or not torch.equal(self._weights.given, head.weight):
            high = head.weight.double()
            gram = high @ high.T if len(high) <= high.shape[1] else None
            self._weights = _Weights(head.weight.clone(), high, gram, 2.0**-42 * high.square().sum(dim=1).amax())
        return self._weights

    def equal_to(self, features: Tensor) -> dict[int, Tensor]:
        """Return (B, D) masks of the elements that equal an anchor's and are not 0, for anchors with any."""
        found, is_equal = [], torch.empty_like(features)
        for values, anchors in zip(self._values, self._anchors, strict=True):
            # PyTorch compares several times faster into float32 than into bool.
            if bool(torch.eq(features, values, out=is_equal).sum()):
                rows, columns = is_equal.nonzero().unbind(dim=1)
                found.append((anchors[columns], rows, columns))
        masks: dict[int, Tensor] = {}
        if found:
            which, rows, columns = (torch.cat(parts) for parts in zip(*found, strict=True))
            for place in torch.unique(which).tolist():
                here = which == place
                masks[place] = torch.zeros_like(features, dtype=torch.bool)
                masks[place][rows[here], columns[here]] = True
        return masks


def linear_changes(
    head: LinearHead, features: Tensor, logits: Tensor, errors: Tensor, anchors: AnchorTable, epsilons: list[float]
) -> Tensor:
    """Count the anchors whose mix changes the prediction of a linear head, for each step.

    Args:
        head: the weights.
        features: z, (B, D) float32.
        logits: (B, C) float32 logits of the features.
        errors: (B, C) float32 gradients in the logits, up to a factor above 0 per point. Their products with the
            weights are the directions d. Points with a direction of zeros never change.
        anchors: the anchors, on the device of the features.
        epsilons: for each of S steps, σ as a fraction of the distance to the anchor.

    Returns:
        (B, S) float32 counts.

    Raises:
        NonFiniteError: the logits of a mix are NaN or infinite; the error names its row.
    """
    z, weights = features.double(), anchors.weights_of(head)
    predicted = logits.argmax(dim=1)[None]
    # Classes come first, because products of a few long rows are faster from the left.
    values = torch.addmm(head.bias.double()[:, None], weights.high, z.T)
    margins = values.gather(0, predicted) - values

    def reached(slopes: Tensor, least: Tensor) -> Tensor:
        slopes.sub_(slopes.gather(1, predicted.expand(len(slopes), 1, -1)))
        # Another class passes the predicted one at this length. The first to do so counts.
        return (margins / slopes).masked_fill_(slopes <= least, torch.inf).amin(dim=1)

    reach = _of_slopes(reached, features, errors.double(), weights, anchors)
    products = anchors.means @ z.T
    squares = anchors.squares[:, None] + z.square_().sum(dim=1)
    lengths = squares.sub_(products, alpha=2).clamp_(min=0).sqrt_()
    fractions = torch.tensor(epsilons, dtype=z.dtype, device=z.device)[:, None, None]
    counts = z.new_empty(len(epsilons), len(z))
    for block in row_blocks(len(epsilons), lengths.numel(), _most(z)):
        counts[block] = (lengths * fractions[block]).gt_(reach).sum(dim=1)
    return counts.T.float()


def _of_slopes(
    reduce: Callable[[Tensor, Tensor], Tensor],
    features: Tensor,
    errors: Tensor,
    weights: _Weights,
    anchors: AnchorTable,
) -> Tensor:
    """Return ``reduce`` of the slopes of all anchors, (A, B), or (1, B) if they are the same for all.

    Slopes are the (C, B) changes of the logits per length. ``reduce`` maps (K, C, B), which it can overwrite, to
    (K, B). Its second argument is the (B,) limit of rounding errors. Elements that are equal in a point and an anchor
    do not move.
    """
    shared = weights.high @ (errors @ weights.high).T if weights.gram is None else weights.gram @ errors.T
    check_finite("logits", shared.sum(dim=0))
    sizes = torch.linalg.vecdot(errors, shared.T).clamp_(min=0).sqrt_()
    sizes = torch.where(sizes > 0, sizes, 1)
    least = weights.least / sizes
    found = reduce((shared / sizes)[None], least)
    equal = anchors.equal_to(features)
    own = sorted(anchors.with_zeros | equal.keys())
    if not own:
        return found
    found, weight = found.repeat(len(anchors.means), 1), weights.high
    directions = errors @ weight
    of_zeros = directions.T[anchors.zero_columns] * (features.T[anchors.zero_columns] == 0)
    of_columns = weight[:, anchors.zero_columns]
    step = max(1, _most(features) // max(1, shared.numel()))
    slopes = shared.new_empty(min(step, len(own)), *shared.shape)
    for start in range(0, len(own), step):
        places = own[start : start + step]
        for slope, place in zip(slopes, places, strict=False):
            columns = anchors.zeros[place]
            torch.sub(shared, of_columns[:, columns] @ of_zeros[columns], out=slope)
            if place in equal:
                slope -= weight @ (directions * equal[place]).T
        found[places] = reduce(slopes[: len(places)].div_(sizes), least)
    return found


def _most(x: Tensor) -> int:
    return _BLOCK if x.device.type == "cpu" else _GPU_BLOCK
