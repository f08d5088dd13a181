"""Which mixes of features change the prediction of a linear head.

A mix moves features z by σ d, for a direction d and a length σ that differs for each anchor and step. The logits of a
linear head move by σ (W d). Two products therefore give the logits of all mixes, and the prediction changes exactly if
σ exceeds a threshold.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dal.acquisition.search.numbers import check_finite, row_blocks

_BLOCK, _GPU_BLOCK = 2**18, 2**25  # numbers; the first fits in a CPU's cache


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


class AnchorTable:
    """The (A, D) float64 means of anchors, and their elements that float32 features can equal.

    A mean between two float32 numbers equals none. Few elements are left to compare, except for classes of one point.
    Zeros are separate, because they are frequent.
    """

    def __init__(self, means: Tensor) -> None:
        self.means, self.squares = means, means.square().sum(dim=1)
        self.zeros = [(row == 0).nonzero()[:, 0] for row in means]
        self.has_zeros = any(map(len, self.zeros))
        values = means.float()
        self._anchors, self._columns = ((values == means) & (means != 0)).nonzero().unbind(dim=1)
        self._values = values[self._anchors, self._columns]

    def equal_to(self, features: Tensor) -> dict[int, Tensor]:
        """Return (B, D) masks of the elements that equal an anchor's and are not 0, for anchors with any."""
        columns = features.T.contiguous()
        masks: dict[int, Tensor] = {}
        most = _BLOCK if features.device.type == "cpu" else _GPU_BLOCK
        for block in row_blocks(len(self._values), len(features), most):
            which, rows = (columns[self._columns[block]] == self._values[block, None]).nonzero().unbind(dim=1)
            which += block.start
            for place in sorted(set(self._anchors[which].tolist())):
                here = self._anchors[which] == place
                mask = masks.setdefault(place, torch.zeros_like(features, dtype=torch.bool))
                mask[rows[here], self._columns[which[here]]] = True
        return masks


def linear_changes(
    head: LinearHead, features: Tensor, logits: Tensor, directions: Tensor, anchors: AnchorTable, epsilons: list[float]
) -> Tensor:
    """Count the anchors whose mix changes the prediction of a linear head, for each step.

    Args:
        head: the weights.
        features: z, (B, D) float32.
        logits: (B, C) float32 logits of the features.
        directions: d, (B, D) float32, up to a factor above 0 per point. Points with a direction of zeros never change.
        anchors: the anchors, on the device of the features.
        epsilons: for each of S steps, σ as a fraction of the distance to the anchor.

    Returns:
        (B, S) float32 counts.

    Raises:
        NonFiniteError: the logits of a mix are NaN or infinite; the error names its row.
    """
    z, weight = features.double(), head.weight.double()
    predicted = logits.argmax(dim=1)[None]
    # Classes come first, because products of a few long rows are faster from the left.
    values = torch.addmm(head.bias.double()[:, None], weight, z.T)
    margins = values.gather(0, predicted) - values
    slopes = _slopes(features, directions.double(), weight, anchors)
    check_finite("logits", slopes.sum(dim=(0, 1)))
    slopes = slopes - slopes.gather(1, predicted.expand(len(slopes), 1, -1))
    # Another class passes the predicted one at this length. The first to do so counts.
    reached = torch.where(slopes > 0, margins / slopes, torch.inf).amin(dim=1)
    squares = anchors.squares[:, None] + z.square().sum(dim=1) - 2 * (anchors.means @ z.T)
    lengths = squares.clamp_(min=0).sqrt_()
    changes = [(lengths * epsilon > reached).sum(dim=0) for epsilon in epsilons]
    return torch.stack(changes, dim=1).float()


def _slopes(features: Tensor, directions: Tensor, weight: Tensor, anchors: AnchorTable) -> Tensor:
    """Return the (A, C, B) change of the logits per length, or (1, C, B) if it is the same for all anchors.

    Elements that are equal in a point and an anchor do not move.
    """
    sizes = torch.linalg.vector_norm(directions, dim=1)
    sizes = torch.where(sizes > 0, sizes, 1)
    slopes = (weight @ directions.T)[None]
    equal = anchors.equal_to(features)
    if anchors.has_zeros or equal:
        slopes = slopes.repeat(len(anchors.means), 1, 1)
    if anchors.has_zeros:
        of_zeros = directions.T * (features.T == 0)
        for slope, rows in zip(slopes, anchors.zeros, strict=True):
            slope -= weight[:, rows] @ of_zeros[rows]
    for place, is_equal in equal.items():
        slopes[place] -= weight @ (directions * is_equal).T
    return slopes / sizes
