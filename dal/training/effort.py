"""Effort: which labels a round fits, and with how many updates."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dal.runtime.seeding import generator
from dal.training.config import TrainingConfig

Points = tuple[Tensor, Tensor]
"""(L,) int64 indices and their (L,) int64 told labels."""


@dataclass(frozen=True, eq=False)
class Effort:
    """What a round fits, and how long. ``skipped`` updates at the start of the learning-rate schedule are left out of
    the ``planned`` ones."""

    points: Points
    planned: int
    skipped: int = 0

    @property
    def max_updates(self) -> int:
        """The most updates that are really taken."""
        return self.planned - self.skipped


def effort(config: TrainingConfig, labeled: Points, num_new: int, warm: bool, *, seed: int, round: int) -> Effort:
    """What a round costs, by ``updates_per_label``, ``replay`` and ``rewind``.

    A round from scratch has every label to learn. A warm one has the last ``num_new``: its updates are counted on these
    alone, and with ``replay`` it fits these and a random part of the old ones (continual training, arXiv:2305.06408).
    ``rewind`` takes up the learning-rate schedule where the share of it is over (arXiv:2003.02389).

    >>> points = (torch.arange(100), torch.zeros(100, dtype=torch.int64))
    >>> config = TrainingConfig(warm_start="continue", min_updates=10, updates_per_label=2, replay=1.0)
    >>> cold, warm = (effort(config, points, 20, w, seed=0, round=1) for w in (False, True))
    >>> len(cold.points[0]), cold.planned, len(warm.points[0]), warm.planned
    (100, 200, 40, 40)
    """
    indices, labels = labeled
    planned = config.max_updates
    if config.updates_per_label is not None:
        wanted = math.ceil(config.updates_per_label * (num_new if warm else len(indices)))
        planned = min(max(wanted, config.min_updates, 1), config.max_updates)
    if not warm:
        return Effort(labeled, planned)
    if config.replay is not None and num_new:  # none are where all that is new is of no class
        num_old = len(indices) - num_new
        drawn = torch.randperm(num_old, generator=generator(seed, round, "replay"))[
            : round_half(config.replay, num_new)
        ]
        kept = torch.cat([drawn.sort().values, torch.arange(num_old, len(indices))])
        labeled = indices[kept], labels[kept]
    skipped = min(int(config.rewind * planned), planned - max(config.min_updates, 1))
    return Effort(labeled, planned, max(skipped, 0))


def round_half(share: float, count: int) -> int:
    """``share`` of ``count``, halves rounded up.

    >>> round_half(0.5, 3)
    2
    """
    return int(share * count + 0.5)
