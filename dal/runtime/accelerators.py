"""Looks for GPUs once, because PyTorch and Lightning look again at each step."""

from __future__ import annotations

import os
from functools import cache

import torch

_NVML = "PYTORCH_NVML_BASED_CUDA_CHECK"


@cache
def has_accelerator() -> bool:
    """Return whether this machine has a GPU or another accelerator that PyTorch can use."""
    if torch.version.cuda is None and torch.version.hip is None:
        return torch.accelerator.is_available()
    # This count does not start CUDA, which would break forked workers.
    return torch.cuda.device_count() > 0


def stop_search() -> None:
    """Make later searches for a GPU fast, if this machine has none.

    Lightning sets a variable with which PyTorch loads the driver's library again at each search. Adam searches at each
    step, and without a driver the search takes longer than the step of a small head.
    """
    if not has_accelerator():
        os.environ.pop(_NVML, None)
