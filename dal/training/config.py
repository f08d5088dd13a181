"""How a round trains. Effort is counted in optimiser updates, because an epoch of 40 labels is nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dal.errors import bad_value, unknown_choice

WARM_STARTS = ("scratch", "continue", "shrink_perturb")
MONITORS = ("auto", "val_loss", "val_accuracy", "train_accuracy", "none")


@dataclass
class TrainingConfig:
    """Early stopping watches ``monitor`` every ``check_every`` updates: training stops when it has not improved for
    ``patience`` updates, when training accuracy reaches ``target_train_accuracy`` (only where that is what is watched),
    or after ``max_updates``; never before ``min_updates``. The best weights seen are kept.

    ``auto`` is val_loss where there are validation points and train_accuracy where there are none. ``none`` looks at
    nothing: a round takes ``max_updates`` and keeps its last weights.

    >>> TrainingConfig(batch_size=32).max_updates
    1000
    """

    batch_size: int = 64  # over all devices together
    min_updates: int = 100  # of a round, also where updates_per_label says fewer
    max_updates: int = 1000
    updates_per_label: float | None = None  # lowers max_updates: so many for each label a round learns (see effort())
    patience: int = 300
    check_every: int = 50
    monitor: str = "auto"
    target_train_accuracy: float = 0.99
    warm_start: str = "scratch"  # scratch, continue or shrink_perturb
    shrink: float = 0.5  # of shrink_perturb: what is left of the last round's weights
    perturb: float = 0.1  # of shrink_perturb: the part of new random weights that is added
    average: float = 0.0  # with monitor=none: the share of its updates, the last ones, whose weights a round averages
    num_workers: int = 0

    def __post_init__(self) -> None:
        for name in ("batch_size", "max_updates", "patience", "check_every"):
            if getattr(self, name) < 1:
                raise bad_value(f"training.{name}", "at least 1", getattr(self, name))
        if not 0 <= self.min_updates <= self.max_updates:
            raise bad_value("training.min_updates", f"0 to max_updates ({self.max_updates})", self.min_updates)
        if self.num_workers < 0:
            raise bad_value("training.num_workers", "at least 0", self.num_workers)
        if self.warm_start not in WARM_STARTS:
            raise unknown_choice("training.warm_start", WARM_STARTS, self.warm_start)
        if self.monitor not in MONITORS:
            raise unknown_choice("training.monitor", MONITORS, self.monitor)
        if self.updates_per_label is not None and not 0 < self.updates_per_label < math.inf:
            raise bad_value("training.updates_per_label", "a number above 0, or null", self.updates_per_label)
        if not 0 <= self.average <= 1:
            raise bad_value("training.average", "a share from 0 to 1", self.average)
        for name in ("shrink", "perturb"):
            if not 0 <= getattr(self, name) <= 1:
                raise bad_value(f"training.{name}", "a number from 0 to 1", getattr(self, name))
