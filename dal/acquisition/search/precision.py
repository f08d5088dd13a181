"""Products in plain float32, whatever the program around has allowed its training to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

_AUTOCAST_DEVICES = ("cpu", "cuda")


@contextmanager
def full_float32() -> Iterator[None]:
    """No TF32, no bfloat16 products and no autocast inside; as before on leaving.

    Bounds on rounding are computed from the precision of float32. ``torch.set_float32_matmul_precision("medium")``,
    which Lightning advises for training, would void them without a word, on CPUs too.

    >>> with torch.autocast("cpu"), full_float32():
    ...     (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
    torch.float32
    """
    before = torch.get_float32_matmul_precision() if not hasattr(torch.backends.cuda.matmul, "fp32_precision") else None
    backends = [] if before else [torch.backends.cuda.matmul, torch.backends.mkldnn.matmul]  # type: ignore[attr-defined]
    settings = [backend.fp32_precision for backend in backends]
    autocast = [torch.autocast(device, enabled=False) for device in _AUTOCAST_DEVICES]
    try:
        if before:
            torch.set_float32_matmul_precision("highest")
        for backend in backends:
            backend.fp32_precision = "ieee"
        with autocast[0], autocast[1]:
            yield
    finally:
        if before:
            torch.set_float32_matmul_precision(before)
        for backend, setting in zip(backends, settings, strict=True):
            backend.fp32_precision = setting
