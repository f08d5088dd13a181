"""How a round trains. Effort is counted in optimiser updates, because an epoch of 40 labels is nothing."""

from __future__ import annotations

from dataclasses import dataclass

from dal.errors import bad_value, unknown_choice

WARM_STARTS = ("scratch", "continue", "shrink_perturb")
MONITORS = ("auto", "val_loss", "val_accuracy", "train_accuracy")


@dataclass
class TrainingConfig:
    """Early stopping watches ``monitor`` every ``check_every`` updates: training stops when it has not improved for
    ``patience`` updates, when training accuracy reaches ``target_train_accuracy`` (only where that is what is watched),
    or after ``max_updates``; never before ``min_updates``.

    ``auto`` is val_loss where there are validation points and train_accuracy where there are none.

    >>> TrainingConfig(batch_size=32).max_updates
    1000
    """

    batch_size: int = 64  # over all devices together
    min_updates: int = 100
    max_updates: int = 1000
    patience: int = 300
    check_every: int = 50
    monitor: str = "auto"
    target_train_accuracy: float = 0.99
    warm_start: str = "scratch"  # scratch, continue, shrink_perturb
    shrink: float = 0.5
    perturb: float = 0.1
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
