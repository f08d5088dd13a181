"""Random selection: the baseline of all comparisons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dal.acquisition.base import AcquisitionFunction, PoolModel, Selection, Summary, check_query_size

__all__ = ["Random"]


@dataclass(frozen=True)
class Random(AcquisitionFunction):
    """Selects uniformly at random without reading the pool; all scores are 0.

    >>> Random().select({"points": torch.empty(5, 0)}, {}, 2, torch.Generator().manual_seed(0)).scores
    tensor([0., 0.], dtype=torch.float64)
    """

    keeps: ClassVar[tuple[str, ...]] = ("points",)
    tasks: ClassVar[tuple[str, ...] | None] = None
    needs_pass: ClassVar[bool] = False

    def summarize(self, model: PoolModel, x: Tensor) -> Summary:
        return {"points": torch.empty(len(x), 0)}

    def select(self, pool: Summary, labeled: Summary, query_size: int, generator: torch.Generator) -> Selection:
        num_points = len(pool["points"])
        check_query_size(query_size, num_points)
        positions = torch.randperm(num_points, generator=generator)[:query_size]
        return Selection(positions, torch.zeros(query_size, dtype=torch.float64))
