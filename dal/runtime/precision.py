"""Precision of forward passes: autocast and TF32 within a block."""

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
    backends: Any = torch.backends
    # PyTorch 2.9 has new names. Where both are used they must say the same, or reading the old ones is refused.
    has_new_names = hasattr(backends.cuda.matmul, "fp32_precision")
    settings: list[tuple[Any, str, Any]]
    if has_new_names:
        places = [backends.cuda.matmul, backends.cudnn.conv] + ([backends.mkldnn.matmul] if kind == "ieee" else [])
        settings = [(place, "fp32_precision", kind) for place in places]
    else:
        settings = [(backends.cudnn, "allow_tf32", kind == "tf32")]
    before = [(place, name, getattr(place, name)) for place, name, _ in settings]
    # torch.compile reads the old name of TF32; of the old names, this one alone knows of CPUs.
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
    except RuntimeError:  # the program has used both kinds of names, and may not ask any more
        return None
