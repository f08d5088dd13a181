"""Effort: how many updates a round takes."""

from __future__ import annotations

import math

from dal.training.config import TrainingConfig


def effort(config: TrainingConfig, num_labels: int, num_new: int, warm: bool) -> int:
    """The most updates of a round, by ``updates_per_label``.

    A round from scratch learns all ``num_labels``. A warm one learns the ``num_new`` that the round before did not fit.

    >>> config = TrainingConfig(min_updates=10, updates_per_label=2)
    >>> [effort(config, num_labels=100, num_new=20, warm=warm) for warm in (False, True)]
    [200, 40]
    """
    if config.updates_per_label is None:
        return config.max_updates
    wanted = math.ceil(config.updates_per_label * (num_new if warm else num_labels))
    return min(max(wanted, config.min_updates, 1), config.max_updates)
