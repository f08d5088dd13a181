"""How the pool is read: batches, memory, precision, layout."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from dal.errors import bad_value
from dal.runtime.byte_size import parse_bytes
from dal.runtime.precision import AUTOCAST

MOST_IMAGES = 2**16
"""No tile is larger."""


@dataclass
class ScoringConfig:
    """How the pool is read. batch_size and num_workers change no result, the rest changes it by rounding alone."""

    batch_size: int = 512  # images a loader reads at a time, rounded to whole tiles
    num_workers: int = 0
    tile_size: int | None = None  # images a forward pass; null: found from the network and the budget, once a pass
    memory_budget: str | None = None  # such as 2GiB: a tile takes a quarter, what is kept half; null: 1 GiB a tile
    disk_folder: str | None = None  # of what memory has no room for; null: the temporary one, which may be memory
    precision: str = "32"  # of the forward passes: 32, tf32 (CUDA), or autocast to bf16 or 16
    channels_last: bool | None = None  # layout of images; null: on CPUs and in tf32, bf16 or 16, where the network can
    features_file: str | None = None  # .npy (N, D) used instead of the network's features by distance-based functions
    target_points: str | None = None  # a file of ids of the training set: inputs that epig goes by; null: the pool's
    compile: bool = False  # torch.compile, once a pass: some seconds that only large pools give back

    def __post_init__(self) -> None:
        if self.tile_size is not None and self.tile_size > MOST_IMAGES:
            # The last tile is filled up, so that a far too large one would not stop at the pool.
            raise bad_value("scoring.tile_size", f"at most {MOST_IMAGES}", self.tile_size)
        for name in ("batch_size", "tile_size"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise bad_value(f"scoring.{name}", "at least 1", getattr(self, name))
        if self.num_workers < 0:
            raise bad_value("scoring.num_workers", "at least 0", self.num_workers)
        if self.precision not in AUTOCAST:
            raise bad_value("scoring.precision", f"one of {', '.join(AUTOCAST)}", self.precision)
        _ = self.bytes_allowed
        if self.disk_folder is not None and not (
            Path(self.disk_folder).is_dir() and os.access(self.disk_folder, os.W_OK)
        ):
            raise bad_value("scoring.disk_folder", "a folder that exists and can be written to", self.disk_folder)

    @property
    def bytes_allowed(self) -> int | None:
        """The budget, where there is one."""
        return None if self.memory_budget is None else parse_bytes("scoring.memory_budget", self.memory_budget)

    @property
    def tile_bytes(self) -> int | None:
        """What a tile may take of the budget, where there is one."""
        return None if self.bytes_allowed is None else self.bytes_allowed // 4
