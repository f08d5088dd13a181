"""Weighted sampling as a race of exponential times: the smallest time wins.

Point i of weight w_i arrives at E_i / w_i, where E_i is exponential; the first is i with probability w_i / Σ w. So a
draw is an argmax of w_i / E_i. Unlike a search in cumulative sums, it needs no total: points whose upper bounds cannot
win need not be looked at, and the answer does not depend on which were. E_i comes from (seed of the draw, i) alone, so
neither does it depend on blocks, devices or the number of processes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dal.acquisition.search.numbers import row_blocks

# SplitMix64 (Steele, Lea and Flood, 2014): a counter times an odd constant, then two rounds of mixing.
_GAMMA, _MIX_1, _MIX_2 = (c - 2**64 for c in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def draw_seed(generator: torch.Generator) -> int:
    """The seed of one draw: one number of the generator."""
    return int(torch.randint(-(2**63), 2**63 - 1, (), generator=generator, dtype=torch.int64))


def uniforms(seed: int, start: int, count: int, device: torch.device | str = "cpu") -> Tensor:
    """(count,) float64 in (0, 1), those of the points from ``start`` on.

    >>> bool((uniforms(3, 0, 10)[4:] == uniforms(3, 4, 6)).all())
    True
    """
    found = torch.empty(count, dtype=torch.float64, device=device)
    # Within the cache, and too few for PyTorch to wake other threads, which where they are busy costs more than this.
    for block in row_blocks(count, 1, 2**15 if found.device.type == "cpu" else 2**24):
        x = torch.arange(start + block.start + 1, start + block.stop + 1, device=device)
        x.mul_(_GAMMA).add_(seed)
        _xor_shift(x, 30).mul_(_MIX_1)
        _xor_shift(x, 27).mul_(_MIX_2)
        _xor_shift(x, 31)
        # The upper 52 bits, and a half so that it is neither 0 nor 1.
        found[block] = _shifted(x, 12)
    return found.add_(0.5).mul_(2.0**-52)


def exponentials(uniform: Tensor) -> Tensor:
    """(R,) float64: E_i of uniforms, by the same function on every device. Never below the uniform itself."""
    times = [-math.log1p(-u) for u in uniform.tolist()]
    return torch.tensor(times, dtype=torch.float64, device=uniform.device)


def _shifted(x: Tensor, bits: int) -> Tensor:
    """To the right, zeros coming in."""
    return (x >> bits).bitwise_and_(2 ** (64 - bits) - 1)


def _xor_shift(x: Tensor, bits: int) -> Tensor:
    return x.bitwise_xor_(_shifted(x, bits))
