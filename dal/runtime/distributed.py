"""Ranks of cooperating processes, and broadcasts from rank 0."""

from __future__ import annotations

import os
from typing import TypeVar

import torch
import torch.distributed as dist
from lightning_utilities.core.rank_zero import rank_zero_only

T = TypeVar("T")


def rank() -> int:
    """Return the rank of this process.

    Before a Trainer exists, it is read from the environment of the launcher.
    """
    return int(getattr(rank_zero_only, "rank", 0) or 0)


def is_rank_zero() -> bool:
    """Return whether this process writes the records."""
    return rank() == 0


def num_ranks() -> int:
    """Return the number of cooperating processes, one per device."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def from_rank_zero(value: T) -> T:
    """Broadcast the value of rank zero to every rank, and return it."""
    if not (dist.is_available() and dist.is_initialized()):
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def scoring_device(accelerator: str = "auto") -> torch.device:
    """Return the device for scoring, which Lightning uses for this accelerator.

    >>> scoring_device("cpu")
    device(type='cpu')
    """
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    if accelerator in ("auto", "gpu", "mps") and torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")
