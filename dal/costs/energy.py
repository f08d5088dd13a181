"""Energy use of NVIDIA GPUs, read from NVML (extra ``energy``)."""

from __future__ import annotations

import importlib
from typing import Any

import torch

Readings = dict[int, float]
"""Joules since the driver was loaded, by torch device index."""


def read_energy() -> Readings:
    """Return the energy counters of all visible GPUs that have one.

    The result is empty if NVML is missing or fails.

    >>> read_energy() if not torch.cuda.is_available() else {}
    {}
    """
    if not torch.cuda.is_available():
        return {}
    nvml = _nvml()
    if nvml is None:
        return {}
    found: Readings = {}
    for device in range(torch.cuda.device_count()):
        joules = _joules(nvml, device)
        if joules is not None:
            found[device] = joules
    return found


def energy_between(before: Readings, after: Readings) -> float | None:
    """Return the joules between two readings on the GPUs in use.

    The result is None if they are unknown. A GPU is in use if this process holds memory on it at the end. In a group of
    n processes, the first n GPUs are also in use. The counters cover whole GPUs, so they include the work of other
    programs.
    """
    used = [device for device in _devices_in_use() if device in before and device in after]
    return sum(after[device] - before[device] for device in used) if used else None


def _devices_in_use() -> list[int]:
    count = torch.cuda.device_count()
    ranks = 1
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        ranks = torch.distributed.get_world_size()
    shared = ranks if ranks > 1 else 0
    return [device for device in range(count) if device < shared or torch.cuda.memory_reserved(device) > 0]


def _nvml() -> Any:
    try:
        nvml = importlib.import_module("pynvml")
        nvml.nvmlInit()
    except Exception:  # noqa: BLE001  a missing driver raises many types of errors, which all mean the same
        return None
    return nvml


def _joules(nvml: Any, device: int) -> float | None:
    try:
        # NVML numbers all GPUs of the machine and torch only those of CUDA_VISIBLE_DEVICES, so use the UUID.
        uuid = str(torch.cuda.get_device_properties(device).uuid)
        name = uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}"
        return int(nvml.nvmlDeviceGetTotalEnergyConsumption(nvml.nvmlDeviceGetHandleByUUID(name))) / 1000
    except Exception:  # noqa: BLE001  older GPUs and MIG slices have no counter, which must not stop a run
        return None
