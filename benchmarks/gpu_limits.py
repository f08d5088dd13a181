"""Measured limits of a GPU, and the counted work of each case.

Limits are measured in the run that uses them: memory bandwidth by copying a large buffer, arithmetic by multiplying
large matrices. Work is counted by formula: FLOPs are those of the products (a multiply-add is two), and bytes are the
minimum if every pass reads its operands once. A share above 100 % means that the code skips passes, not that it exceeds
the limits of the GPU.

This module has no command: see gpu.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dal.runtime.precision import forward_precision, full_precision

# Type names of torch; tf32 is float32 whose products round to 10 bits.
ARITHMETIC = {"float64": torch.float64, "float32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Work:
    """Minimum work of one run."""

    bytes: float
    flops: float
    arithmetic: str  # limit of ARITHMETIC for the FLOPs


@contextmanager
def products_in(arithmetic: str) -> Iterator[None]:
    """Set float32 or tf32 precision for matrix products and convolutions."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with forward_precision("tf32", device) if arithmetic == "tf32" else full_precision(device):
        yield


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measured_limits(device: torch.device, quick: bool) -> dict[str, float]:
    """Return the measured limits of the device.

    These are the bytes per second of a copy (read and write) and the FLOP/s of a square product in each arithmetic.
    """
    count, side = (2**22, 256) if quick else (2**30, 8192)
    limits = {"bandwidth": 2 * count / _seconds_of_copy(count, device)}
    for name, dtype in ARITHMETIC.items():
        with products_in(name):
            limits[name] = 2 * side**3 / _seconds_of_product(side, dtype, device)
    return limits


def _seconds_of_copy(count: int, device: torch.device) -> float:
    source = torch.ones(count, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return _least_seconds(lambda: target.copy_(source), device)


def _seconds_of_product(side: int, dtype: torch.dtype, device: torch.device) -> float:
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    out = torch.empty_like(a)
    return _least_seconds(lambda: torch.mm(a, b, out=out), device)


def _least_seconds(run: Callable[[], object], device: torch.device, tries: int = 5, runs: int = 10) -> float:
    """Return the seconds per run in the fastest of several series."""
    run()
    taken = []
    for _ in range(tries):
        synchronize(device)
        start = time.perf_counter()
        for _ in range(runs):
            run()
        synchronize(device)
        taken.append((time.perf_counter() - start) / runs)
    return min(taken)


def work_of_layers(
    step: Callable[[Tensor], Tensor], model: nn.Module, few: Tensor, images: int, tile: int, arithmetic: str
) -> Work:
    """Return the work of a pass of ``step`` over the images.

    The work is extrapolated from a few images. FLOPs are those of products and convolutions. Bytes are the inputs and
    outputs of every layer of ``model`` per image, and its weights once per tile. Fused compiled layers move fewer
    bytes.
    """
    size = 2 if arithmetic == "bf16" else 4
    moved, weights = [], []

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        moved.append(inputs[0].numel() + output.numel())
        weights.append(sum(p.numel() for p in module.parameters(recurse=False)))

    leaves = [m for m in model.modules() if not list(m.children())]
    handles = [leaf.register_forward_hook(count) for leaf in leaves]
    try:
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            step(few)
    finally:
        for handle in handles:
            handle.remove()
    each = images / len(few)
    least_bytes = size * (sum(moved) * each + sum(weights) * images / tile)
    return Work(least_bytes, counter.get_total_flops() * each, arithmetic)


def work_of_coreset(features: Tensor, labeled: Tensor, picks: int) -> Work:
    """Return the work of core-set selection.

    The pool is read once for the labeled points and once for each pick except the last, and a distance is read and
    written per point. Every pair takes a product of D in float32, which dal's bounds need for features of any type.
    """
    count, width = features.shape
    passes = 1 + (picks - 1)
    moved = passes * count * (width * features.element_size() + 2 * 4)
    return Work(moved, 2.0 * count * width * (len(labeled) + picks - 1), "float32")


def work_of_badge(probs: Tensor, features: Tensor, picks: int) -> Work:
    """Return the work of BADGE selection.

    Both factors of all gradients are read once for each pick except the last. A weight per point is read, written, and
    read again for the draw. Every pair takes a product of C and one of D, in float32 as above.
    """
    count = len(features)
    row = sum(x.shape[1] * x.element_size() for x in (probs, features))
    moved = (picks - 1) * count * (row + 3 * 4)
    return Work(moved, 2.0 * count * (probs.shape[1] + features.shape[1]) * (picks - 1), "float32")
