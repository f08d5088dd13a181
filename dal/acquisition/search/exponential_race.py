"""Weighted sampling as a race of exponential times: the smallest time wins.

Point i with weight w_i arrives at time E_i / w_i, where E_i is exponentially distributed. It arrives first with
probability w_i / Σ w, so the argmax of w_i / E_i is a draw with these probabilities. Unlike a search in cumulative
sums, the race needs no total. It can skip points whose upper bounds cannot win, and the result does not depend on which
points it skips. E_i depends only on the seed of the draw and on i. The result is therefore the same for all block
sizes, devices and numbers of processes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from dal.acquisition.search.numbers import row_blocks

# SplitMix64 (Steele, Lea and Flood, 2014): a counter times an odd constant, then two rounds of mixing.
_GAMMA, _MIX_1, _MIX_2 = (c - 2**64 for c in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def draw_seed(generator: torch.Generator) -> int:
    """Draw one number from the generator as the seed of a draw."""
    return int(torch.randint(-(2**63), 2**63 - 1, (), generator=generator, dtype=torch.int64))


def uniforms(seed: int, start: int, count: int, device: torch.device | str = "cpu") -> Tensor:
    """Return the (count,) float64 uniforms in (0, 1) of points from ``start``.

    >>> bool((uniforms(3, 0, 10)[4:] == uniforms(3, 4, 6)).all())
    True
    """
    found = torch.empty(count, dtype=torch.float64, device=device)
    # On the CPU, a block fits in the cache and is too small for PyTorch to use several threads. If other threads are
    # busy, waiting for them costs more than the computation.
    for block in row_blocks(count, 1, 2**15 if found.device.type == "cpu" else 2**24):
        x = torch.arange(start + block.start + 1, start + block.stop + 1, device=device)
        found[block] = _mixed(x.mul_(_GAMMA).add_(seed))
    return found.add_(0.5).mul_(2.0**-52)


def uniforms_of_draws(seeds: list[int], count: int, device: torch.device | str = "cpu") -> Iterator[Tensor]:
    """Yield uniforms(seed, 0, count) of each seed, computed for several at once.

    >>> (first,) = uniforms_of_draws([3], 10)
    >>> bool((first == uniforms(3, 0, 10)).all())
    True
    """
    places = torch.arange(1, count + 1, device=device).mul_(_GAMMA)
    for block in row_blocks(len(seeds), count, 2**15):
        some = torch.tensor(seeds[block], device=device)
        yield from _mixed(places + some[:, None]).double().add_(0.5).mul_(2.0**-52)


def _mixed(x: Tensor) -> Tensor:
    """Mix counters in place; return the upper 52 bits. The 0.5 added later keeps the uniforms from being 0 or 1."""
    _xor_shift(x, 30).mul_(_MIX_1)
    _xor_shift(x, 27).mul_(_MIX_2)
    return _shifted(_xor_shift(x, 31), 12)


def exponentials(uniform: Tensor) -> Tensor:
    """Return the (R,) float64 exponentials E_i of uniforms.

    They are computed on the CPU, so they are equal for every device. E_i is never below its uniform.
    """
    times = [-math.log1p(-u) for u in uniform.tolist()]
    return torch.tensor(times, dtype=torch.float64, device=uniform.device)


def factor_bounds(uniform: Tensor) -> tuple[Tensor, Tensor]:
    """Return (N,) float64 lower and upper bounds on 1 / exponentials(), computed on the device.

    Devices differ in the last digits of logarithms, and the bounds allow for more.
    """
    times = torch.log1p(-uniform).neg_().reciprocal_()
    return times * (1 - 1e-9), times * (1 + 1e-9)


def _shifted(x: Tensor, bits: int) -> Tensor:
    """Shift right and fill with zeros."""
    return (x >> bits).bitwise_and_(2 ** (64 - bits) - 1)


def _xor_shift(x: Tensor, bits: int) -> Tensor:
    return x.bitwise_xor_(_shifted(x, bits))
