"""Random selection among points where the model predicts foreground."""

from __future__ import annotations

from dataclasses import dataclass
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
)
from dal.acquisition.search.columns import classes, exponentials
from dal.acquisition.search.numbers import check_finite, check_whole, normalized_log_probs

__all__ = ["RandomForeground", "random_foreground_select"]


def random_foreground_select(foreground: Tensor, query_size: int, generator: torch.Generator) -> Selection:
    """Select points with foreground in random order, then the others in random order.

    A random baseline that knows the task is hard to beat in segmentation (arXiv:2511.19183).

    Args:
        foreground: (N,) floating point, the share of the point that is predicted as foreground.
        query_size: Q, from 1 to N.
        generator: on the CPU.

    Returns:
        Q distinct positions, and their shares of foreground.

    Raises:
        DalError: the shape is not (N,), or the query size is out of range.
        NonFiniteError: a share is NaN or infinite.

    >>> shares = torch.tensor([0.0, 0.5, 0.0, 1.0])
    >>> sorted(random_foreground_select(shares, 2, torch.Generator().manual_seed(0)).positions.tolist())
    [1, 3]
    """
    check_dims("foreground", foreground, "N")
    check_query_size(query_size, len(foreground))
    check_finite("foreground", foreground)
    foreground = foreground.detach().cpu().double()
    shuffled = torch.randperm(len(foreground), generator=generator)
    is_background = foreground[shuffled] <= 0
    positions = shuffled[torch.sort(is_background, stable=True).indices[:query_size]]
    return Selection(positions, foreground[positions])


@dataclass(frozen=True)
class RandomForeground(AcquisitionFunction):
    """Selects with ``random_foreground_select``; keeps one number per point.

    A region is foreground if the model predicts another class than the background for one of its pixels. An image with
    one label is foreground if the model predicts another class.

    Args:
        background: Number of the background class.
    """

    keeps: ClassVar[tuple[str, ...]] = ("foreground",)
    tasks: ClassVar[tuple[str, ...] | None] = ("classification", "segmentation")

    background: int = 0

    def __post_init__(self) -> None:
        check_whole("background", self.background, 0)

    def summarize(self, model: PoolModel, x: Tensor) -> Summary:
        log_probs = normalized_log_probs("logits", model.head(model.features(x)))
        return {"foreground": (log_probs.argmax(dim=1) != self.background).float()}

    def site_summary(self, logits: Tensor) -> Summary:
        shifted, _, total = exponentials(logits)
        # The products are 0 or NaN.
        return {"foreground": (classes(shifted) != self.background) + 0 * total.float()}

    def select(self, pool: Summary, labeled: Summary, query_size: int, generator: torch.Generator) -> Selection:
        return random_foreground_select(pool["foreground"], query_size, generator)
