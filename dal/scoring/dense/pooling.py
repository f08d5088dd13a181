"""Pools what is known of sites to units."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dal.data.units import Units
from dal.errors import unknown_choice
from dal.runtime.ranges import whole

_BLOCK_VALUES = 2**22

POOLS = ("mean", "sum", "max", "top_k")

_POOL_OF = {"predicted": "most"}
"""The pool of tensors other than scores, by name, unless it is the mean."""

_FILL = {"max": -torch.inf, "top_k": -torch.inf, "most": -1}
"""What fills the row of a unit with fewer sites, unless it is 0."""


@dataclass(frozen=True)
class Pooling:
    """How the scores of the pixels of a unit become the score of the unit.

    Args:
        pool: ``mean``, ``sum``, ``max``, or ``top_k``, the mean of the ``top_k`` highest scores.
        top_k: Number of scores for ``top_k``. Smaller units use all of theirs.
    """

    pool: str = "mean"
    top_k: int = 16

    def __post_init__(self) -> None:
        if self.pool not in POOLS:
            raise unknown_choice("acquisition.pool", POOLS, str(self.pool))
        whole(1, 2**31).check("acquisition.top_k", self.top_k)


class UnitPool:
    """Pools the rows of the sites of a grid to the units of each image.

    Scores are pooled as ``pooling`` says. Predicted classes become the class of most sites, of several the smallest.
    Other tensors, such as features, become their mean. Means are computed in float64.

    >>> pool = UnitPool(Units(2, 4, region_size=2), 2, 4, Pooling("max"))
    >>> pool({"scores": torch.arange(8.0)})["scores"].tolist()
    [[5.0, 7.0]]
    """

    def __init__(self, units: Units, height: int, width: int, pooling: Pooling) -> None:
        self.pooling, self.num_sites = pooling, height * width
        self.sites, self.counts = units.sites(height, width)
        self.has_one_site = self.sites.shape[1] == 1
        outside = torch.arange(self.sites.shape[1]) >= self.counts[:, None]
        self._outside = outside if bool(outside.any()) else None
        self._is_whole = len(units) == 1

    def __call__(self, rows: dict[str, Tensor]) -> dict[str, Tensor]:
        """Map tensors of B x S rows to (B, U, ...) tensors."""
        return {name: self._pooled(name, part.view(-1, self.num_sites, *part.shape[1:])) for name, part in rows.items()}

    def _pooled(self, name: str, part: Tensor) -> Tensor:
        pool = self.pooling.pool if name == "scores" else _POOL_OF.get(name, "mean")
        # A few images at a time, because the sites of units are a copy.
        step = max(1, _BLOCK_VALUES // part[0].numel())
        return torch.cat([self._of_images(images, pool) for images in torch.split(part, step)])

    def _of_images(self, images: Tensor, pool: str) -> Tensor:
        """Map (B, S, ...) to (B, U, ...)."""
        device, wide = images.device, [1] * (images.ndim - 2)
        if self.has_one_site:
            return images[:, self.sites[:, 0].to(device)]
        values = images[:, None] if self._is_whole else images[:, self.sites.to(device)]
        counts = self.counts.to(device).view(-1, *wide)
        if self._outside is not None:
            values = values.masked_fill(self._outside.to(device).view(*self._outside.shape, *wide), _FILL.get(pool, 0))
        if pool == "most":
            return _most(values)
        if pool == "max":
            return values.amax(dim=2)
        if pool == "top_k":
            values, counts = self._highest(values), counts.clamp(max=self.pooling.top_k)
        total = values.sum(dim=2, dtype=_wide(images))
        return (total if pool == "sum" else total / counts).to(images.dtype)

    def _highest(self, values: Tensor) -> Tensor:
        """Return the highest scores of (B, U, M), (B, U, K), with 0 where a unit has fewer."""
        best = values.topk(min(self.pooling.top_k, values.shape[2]), dim=2).values
        return best.masked_fill((torch.arange(best.shape[2]) >= self.counts[:, None]).to(best.device), 0)


def _most(values: Tensor) -> Tensor:
    """Return the most frequent class of (B, U, M) classes, (B, U). Those below 0 do not count."""
    found = torch.zeros_like(values[:, :, 0])
    most = torch.zeros_like(found)
    for number in torch.unique(values[values >= 0]).tolist():
        count = (values == number).sum(dim=2)
        found[count > most] = number
        most = count.maximum(most)
    return found


def _wide(values: Tensor) -> torch.dtype:
    # Apple's devices have no float64.
    return torch.float32 if values.device.type == "mps" else torch.float64
