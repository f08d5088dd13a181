"""Cuts a pass into tiles of equal size and chooses the size."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from dal.runtime.memory import LiveBytes, out_of_memory

DEFAULT_BYTES = 2**30
"""Memory of a tile in bytes, without a budget."""

PROBE_SIZE = 4
"""Images in the probe that measures the memory of one image."""

_LARGEST = 2048
# On a CPU, tiles that fit into the caches are faster than larger ones, down to about 8 images (measured with small_cnn
# and resnet18_cifar). A GPU is faster with large tiles.
_CPU_BYTES = 48 * 2**20
_CPU_SMALLEST, _CPU_LARGEST = 8, 128


def cut(batches: Iterable[Tensor], size: int) -> Iterator[tuple[Tensor, int]]:
    """Cut batches of any size into tiles of one size.

    Each tile comes with its number of valid rows. The last tile is padded with its first row.

    >>> [(tile.tolist(), count) for tile, count in cut(torch.arange(5).split(3), 2)]
    [([0, 1], 2), ([2, 3], 2), ([4, 4], 1)]
    """
    waiting: list[Tensor] = []
    held = 0
    for batch in batches:
        waiting.append(batch)
        held += len(batch)
        if held >= size:
            joined = torch.cat(waiting) if len(waiting) > 1 else batch
            whole = held - held % size
            for tile in torch.split(joined[:whole], size):
                yield tile, size
            waiting, held = ([joined[whole:]], held - whole) if held > whole else ([], 0)
    if held:
        last = torch.cat(waiting)
        yield torch.cat([last, last[:1].expand(size - held, *last.shape[1:])]), held


def tile_size(run: Callable[[Tensor], Any], few: Tensor, budget: int | None = None) -> int:
    """Return the largest power of two of images within ``budget`` bytes.

    ``run`` is the pass and ``few`` are PROBE_SIZE images on the device. The size depends on the network, the image
    shape, the budget and the device type, but not on the free memory. A run that is resumed on another machine uses the
    same tiles.
    """
    try:
        run(few)  # one-time tensors, such as masks, are not part of a tile
        # At least two images, because squeeze() in forward() changes the shape of a batch of one.
        small, large = (_live_bytes(run, few[:count]) for count in (PROBE_SIZE // 2, PROBE_SIZE))
    except Exception as error:
        if out_of_memory(error):
            return 1
        raise
    per_image = max(1, (large - small) // (PROBE_SIZE - PROBE_SIZE // 2))
    fixed = max(0, large - per_image * PROBE_SIZE)

    def fitting(most_bytes: int, at_least: int, at_most: int) -> int:
        fits = max(1, (most_bytes - fixed) // per_image)
        largest: int = 1 << (fits.bit_length() - 1)
        return min(max(largest, at_least), at_most)

    one = fixed + per_image
    if budget is not None and one > budget:
        # A quarter of the setting is for a tile.
        warnings.warn(
            f"scoring.memory_budget: expected at least {4 * one:,} bytes for tiles of one image, got {budget:,} for a "
            f"tile, which is a quarter. A tile takes {one:,} bytes.",
            stacklevel=1,
        )
    affordable = fitting(DEFAULT_BYTES if budget is None else budget, 1, _LARGEST)
    if few.device.type != "cpu":
        return affordable
    return min(affordable, fitting(_CPU_BYTES, _CPU_SMALLEST, _CPU_LARGEST))


def _live_bytes(run: Callable[[Tensor], Any], x: Tensor) -> int:
    with LiveBytes() as live:
        run(x)
    peak: int = live.peak
    return peak + x.numel() * x.element_size()
