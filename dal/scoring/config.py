"""Settings of pool passes: batches, memory, precision, layout."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import ClassVar

from dal.errors import bad_value
from dal.runtime.byte_size import parse_bytes
from dal.runtime.precision import AUTOCAST
from dal.runtime.ranges import Ranges, check_ranges, whole
from dal.runtime.user_paths import is_folder

MOST_IMAGES = 2**16
"""Maximum number of images in a tile."""


@dataclass
class ScoringConfig:
    """Settings of passes over the pool.

    batch_size and num_workers do not change results. tile_size, memory_budget, disk_folder, precision, channels_last
    and compile change them by rounding only.
    """

    ranges: ClassVar[Ranges] = {
        "batch_size": whole(1, MOST_IMAGES),
        "num_workers": whole(0, 256),
        # The last tile is padded to full size, so a large tile_size costs memory even on a small pool.
        "tile_size": whole(1, MOST_IMAGES, null=True),
    }

    batch_size: int = 512
    """Images per batch of the loader, rounded to whole tiles."""
    num_workers: int = 0
    """Worker processes that load pool images; 0 loads them in the main process."""
    tile_size: int | None = None
    """Images per forward pass; null derives it from the network and the memory budget."""
    memory_budget: str | None = None
    """Memory for scoring, such as 2GiB: a quarter per tile, half for the outputs; null allows 1 GiB per tile."""
    disk_folder: str | None = None
    """Folder for outputs that do not fit in memory; null uses the system's temporary folder."""
    precision: str = "32"
    """Precision of the forward passes: 32, tf32 (CUDA only), bf16 or 16."""
    channels_last: bool | None = None
    """Whether to store images in channels-last layout; null uses it on CPUs and in reduced precision."""
    features_file: str | None = None
    """A .npy file (N, D) of features that distance-based functions and campaign.initial use instead of the network's;
    null uses the network's."""
    target_points: str | None = None
    """File with the ids of the target images of epig; null draws them from the pool."""
    compile: bool = False
    """Whether to use torch.compile, which takes seconds and is faster only on large pools."""

    def __post_init__(self) -> None:
        check_ranges(self, "scoring.")
        if self.precision not in AUTOCAST:
            raise bad_value("scoring.precision", f"one of {', '.join(AUTOCAST)}", self.precision)
        _ = self.bytes_allowed
        if self.disk_folder is not None and not (is_folder(self.disk_folder) and os.access(self.disk_folder, os.W_OK)):
            raise bad_value("scoring.disk_folder", "an existing, writable folder", self.disk_folder)

    @property
    def bytes_allowed(self) -> int | None:
        """The memory budget in bytes; None without a budget."""
        return None if self.memory_budget is None else parse_bytes("scoring.memory_budget", self.memory_budget)

    @property
    def tile_bytes(self) -> int | None:
        """The budget of one tile in bytes; None without a budget."""
        return None if self.bytes_allowed is None else self.bytes_allowed // 4
