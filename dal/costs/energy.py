"""Energy use of NVIDIA GPUs, read from NVML (extra ``energy``)."""

from __future__ import annotations

import importlib
from typing import Any

import torch

Readings = dict[int, float]
"""Joules since the driver was loaded, by the number that torch gives the device."""


def read_energy() -> Readings:
    """The counters of all GPUs that torch sees and that have one; empty where NVML is missing or fails.

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
    """The joules from one reading to the next of the GPUs that this program uses; None where nothing tells them.

    These are the devices on which this process holds memory at the end, and, in a group of n processes, the first n,
    which the other processes use. The counters are of whole GPUs: what other programs do on them is in it.
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
    except Exception:  # noqa: BLE001  a driver that is not there has many ways to say so, and none of them matters here
        return None
    return nvml


def _joules(nvml: Any, device: int) -> float | None:
    try:
        # By its UUID, as NVML numbers all GPUs of the machine and torch those of CUDA_VISIBLE_DEVICES.
        uuid = str(torch.cuda.get_device_properties(device).uuid)
        name = uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}"
        return int(nvml.nvmlDeviceGetTotalEnergyConsumption(nvml.nvmlDeviceGetHandleByUUID(name))) / 1000
    except Exception:  # noqa: BLE001  older GPUs and parts of one have no counter, and a run must not end for it
        return None
