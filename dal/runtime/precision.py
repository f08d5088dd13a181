"""Sets the precision of forward passes with autocast and TF32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

AUTOCAST = {"32": None, "tf32": None, "bf16": torch.bfloat16, "16": torch.float16}
"""Maps names of precisions to autocast dtypes."""


@contextmanager
def forward_precision(name: str, device: torch.device) -> Iterator[None]:
    """Run forward passes in this precision.

    "32" keeps the settings of the program.
    """
    dtype = AUTOCAST[name]
    with ExitStack() as stack:
        if name == "tf32":
            stack.enter_context(_float32_products("tf32"))
        stack.enter_context(torch.autocast(device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None))
        yield


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Run float32 products in full float32 precision, without autocast.

    Use it for rounding bounds, and to compare two computations of the same value. Lightning recommends
    ``torch.set_float32_matmul_precision("medium")`` for training, which would invalidate such bounds, also on CPUs.

    >>> with torch.autocast("cpu"), full_precision(torch.device("cpu")):
    ...     (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
    torch.float32
    """
    with _float32_products("ieee"), torch.autocast(device.type, enabled=False):
        yield


@contextmanager
def _float32_products(kind: str) -> Iterator[None]:
    """Set the precision of float32 matrix products and convolutions.

    "tf32" affects CUDA, and "ieee" every device.
    """
    backends: Any = torch.backends
    # PyTorch 2.9 has new names. If both are set, they must agree, or reading the old names raises an error.
    has_new_names = hasattr(backends.cuda.matmul, "fp32_precision")
    settings: list[tuple[Any, str, Any]]
    if has_new_names:
        places = [backends.cuda.matmul, backends.cudnn.conv] + ([backends.mkldnn.matmul] if kind == "ieee" else [])
        settings = [(place, "fp32_precision", kind) for place in places]
    else:
        settings = [(backends.cudnn, "allow_tf32", kind == "tf32")]
    before = [(place, name, getattr(place, name)) for place, name, _ in settings]
    # torch.compile reads the old name of TF32. Of the old names, only this one affects CPUs.
    products = _matmul_precision() if kind == "tf32" or not has_new_names else None
    try:
        if products is not None:
            torch.set_float32_matmul_precision("high" if kind == "tf32" else "highest")
        for place, name, value in settings:
            setattr(place, name, value)
        yield
    finally:
        if products is not None:
            torch.set_float32_matmul_precision(products)
        for place, name, value in before:
            setattr(place, name, value)


def _matmul_precision() -> str | None:
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:  # PyTorch refuses to read the old name after a program has set both names
        return None
