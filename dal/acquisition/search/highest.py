"""The highest of many values, without sorting all of them."""

from __future__ import annotations

import torch
from torch import Tensor


def highest(values: Tensor, count: int) -> Tensor:
    """Return the positions of the ``count`` highest of (N,) values, best first. Equal values keep their order.

    >>> highest(torch.tensor([1.0, 3.0, 2.0, 3.0]), 3).tolist()
    [1, 3, 2]
    """
    places = at_least_as_high(values, count)
    return places[torch.sort(values[places], descending=True, stable=True).indices[:count]]


def at_least_as_high(values: Tensor, count: int) -> Tensor:
    """Return positions, ascending, with the ``count`` highest values and all that equal the last of them.

    If ``count`` is large, these are all positions.

    >>> at_least_as_high(torch.tensor([1.0, 3.0, 2.0, 2.0] + 20 * [0.0]), 2).tolist()
    [1, 2, 3]
    """
    # From there on, a sort of all values takes no longer.
    if count < len(values) // 8:
        least = values.topk(count, sorted=False).values.amin()
        places = (values >= least).nonzero().flatten()
        if len(places) >= count:  # with NaN, there are fewer
            return places
    return torch.arange(len(values), device=values.device)
