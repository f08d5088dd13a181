"""Training settings of a round.

Lengths are counted in optimizer updates, because an epoch of 40 labels is very short.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dal.errors import bad_value, unknown_choice
from dal.runtime.ranges import Range, Ranges, check_ranges, share, whole

WARM_STARTS = ("scratch", "continue", "shrink_perturb")
MONITORS = ("auto", "val_loss", "val_accuracy", "train_accuracy", "none")


@dataclass
class TrainingConfig:
    """Training settings of a round, including early stopping.

    Early stopping checks ``monitor`` every ``check_every`` updates. Training stops when the metric has not improved for
    ``patience`` updates, when a monitored training accuracy reaches ``target_train_accuracy``, or after
    ``max_updates``. It does not stop before ``min_updates``. The round keeps the best weights.

    ``auto`` monitors val_loss with validation points and train_accuracy without. ``none`` monitors nothing: the round
    trains for ``max_updates`` and keeps its last weights.

    >>> TrainingConfig(batch_size=32).max_updates
    1000
    """

    ranges: ClassVar[Ranges] = {
        "batch_size": whole(2, 2**16),  # BatchNorm cannot train on a single image
        "min_updates": whole(0, 10**9),
        "max_updates": whole(1, 10**9),
        "updates_per_label": Range(0, 10**6, above=True, null=True),
        "patience": whole(1, 10**9),
        "check_every": whole(1, 10**9),
        "target_train_accuracy": Range(0, 10),  # above 1, training accuracy never stops a round
        "shrink": share(noun="a number"),
        "perturb": share(noun="a number"),
        "average": share(),
        "half_size_until": whole(0, 10**9),
        "num_workers": whole(0, 256),
    }

    batch_size: int = 64
    """Images per update, at least 2, summed over all devices."""
    min_updates: int = 100
    """Minimum number of optimizer updates per round, also for early stopping and updates_per_label."""
    max_updates: int = 1000
    """Maximum number of optimizer updates per round."""
    updates_per_label: float | None = None
    """Updates per label, within min_updates and max_updates in total; null uses max_updates."""
    patience: int = 300
    """Updates without improvement of the monitored metric after which training stops."""
    check_every: int = 50
    """Updates between two checks of the monitored metric."""
    monitor: str = "auto"
    """Metric for early stopping: val_loss, val_accuracy, train_accuracy, none, or auto (val_loss with validation
    labels, else train_accuracy)."""
    target_train_accuracy: float = 0.99
    """Training accuracy, from 0 to 1, at which training stops when train_accuracy is monitored."""
    warm_start: str = "scratch"
    """Initial weights of a round: scratch (new), continue (from the last round), or shrink_perturb (a mix of both)."""
    shrink: float = 0.5
    """Factor on the last round's weights with warm_start=shrink_perturb."""
    perturb: float = 0.1
    """Factor on the new random weights that warm_start=shrink_perturb adds."""
    average: float = 0.0
    """Share of a round's updates, counted from the end, whose weights are averaged; needs monitor=none if above 0."""
    half_size_until: int = 0
    """Labels up to which rounds train and score images at half their size (progressive resizing); 0 always uses their
    full size."""
    num_workers: int = 0
    """Worker processes that load training images; 0 loads them in the main process."""

    def __post_init__(self) -> None:
        check_ranges(self, "training.")
        if self.min_updates > self.max_updates:
            expected = f"0 to max_updates ({self.max_updates}); lower both for shorter rounds"
            raise bad_value("training.min_updates", expected, self.min_updates)
        if self.warm_start not in WARM_STARTS:
            raise unknown_choice("training.warm_start", WARM_STARTS, self.warm_start)
        if self.monitor not in MONITORS:
            raise unknown_choice("training.monitor", MONITORS, self.monitor)

    def is_half_size(self, num_labels: int) -> bool:
        """Return whether a round with this number of labels sees images of half the size."""
        return num_labels <= self.half_size_until
