"""The precision of forward passes: autocast and TF32, set for a block and put back afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

AUTOCAST = {"32": None, "tf32": None, "bf16": torch.bfloat16, "16": torch.float16}
"""Names of precisions, and what autocast makes of the large products in each."""


@contextmanager
def forward_precision(name: str, device: torch.device) -> Iterator[None]:
    """Forward passes inside are in this precision. "32" leaves the program's own settings as they are."""
    dtype = AUTOCAST[name]
    with ExitStack() as stack:
        if name == "tf32":
            stack.enter_context(_float32_products("tf32"))
        stack.enter_context(torch.autocast(device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None))
        yield


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """float32 products in float32, and no autocast, inside: for bounds on rounding, and for comparing two ways to
    compute the same.

    ``torch.set_float32_matmul_precision("medium")``, which Lightning advises for training, would void such bounds
    without a word, on CPUs too.

    >>> with torch.autocast("cpu"), full_precision(torch.device("cpu")):
    ...     (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
    torch.float32
    """
    with _float32_products("ieee"), torch.autocast(device.type, enabled=False):
        yield


@contextmanager
def _float32_products(kind: str) -> Iterator[None]:
    """Matrix products and convolutions of float32 in "tf32" (on CUDA) or "ieee" (everywhere)."""
    cuda: Any = torch.backends.cuda.matmul
    cudnn: Any = torch.backends.cudnn
    # PyTorch 2.9 has new names, and refuses to be read through the old ones once the new were set.
    has_new_names = hasattr(cuda, "fp32_precision")
    settings: list[tuple[Any, str, Any]]
    if has_new_names:
        places = [cuda, cudnn.conv] + ([torch.backends.mkldnn.matmul] if kind == "ieee" else [])  # type: ignore[attr-defined]
        settings = [(place, "fp32_precision", kind) for place in places]
    else:
        settings = [(place, "allow_tf32", kind == "tf32") for place in (cuda, cudnn)]
    before = [(place, name, getattr(place, name)) for place, name, _ in settings]
    # Of the old names, only this one knows of CPUs.
    all_products = torch.get_float32_matmul_precision() if kind == "ieee" and not has_new_names else None
    try:
        if all_products is not None:
            torch.set_float32_matmul_precision("highest")
        for place, name, value in settings:
            setattr(place, name, value)
        yield
    finally:
        if all_products is not None:
            torch.set_float32_matmul_precision(all_products)
        for place, name, value in before:
            setattr(place, name, value)
