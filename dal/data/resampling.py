"""Resamples batches of images from rectangles of them.

A rectangle has its own rows and columns. Interpolation along the rows and then along the columns therefore needs fewer
reads than grid_sample(), which reads four pixels for each new one.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

_GROUP, _BLOCK = 2**20, 2**17
"""Pixels that are converted together, and that are resampled together, so that they stay in the processor's cache."""
_SMALL = 48 * 48
"""Pixels of an image below which grid_sample() is faster."""
_TIE = 2**-12
"""More than the rounding error of a value from 0 to 255 in float32."""


def resample(images: Tensor, rectangles: Tensor, mode: Literal["bilinear", "nearest"] = "bilinear") -> Tensor:
    """Return (B, C, H, W) images, each resampled from a rectangle of it to its full size.

    ``rectangles`` are the (B, 2, 3) maps of affine_grid() on the CPU, without rotation. The result is that of
    grid_sample() with the padding mode ``border``, rounded to the dtype of the images.

    >>> halves = torch.tensor([[[0.5, 0.0, -0.5], [0.0, 1.0, 0.0]]])  # the left half
    >>> resample(torch.tensor([[[[0, 100, 200, 250]]]], dtype=torch.uint8), halves)
    tensor([[[[  0,  25,  75, 125]]]], dtype=torch.uint8)
    """
    if images.device.type != "cpu" or images.dtype != torch.uint8 or images.shape[2:].numel() < _SMALL:
        grid = F.affine_grid(rectangles.to(images.device), list(images.shape), align_corners=False)
        return _sampled(images, grid, mode)
    count, channels, height, width = images.shape
    # All rows of a grid have the same x, and all columns the same y.
    x = F.affine_grid(rectangles, [count, 1, 1, width], align_corners=False)[:, 0, :, 0]
    y = F.affine_grid(rectangles, [count, 1, height, 1], align_corners=False)[:, :, 0, 1]
    if mode == "nearest":
        rows, columns = _places(y, height).round().long(), _places(x, width).round().long()
        return _columns(_rows(images.contiguous(), rows), columns)
    resampled = torch.empty_like(images, memory_format=torch.contiguous_format)
    size = max(1, images[:1].numel())
    group, block = (min(count, max(1, most // size)) for most in (_GROUP, _BLOCK))
    # Kept for all groups, because new memory costs more than the arithmetic.
    pixels, buffers = torch.empty(group, channels, height, width), torch.empty(3, block, channels, height, width)
    for start in range(0, count, group):
        part = slice(start, start + group)
        some = pixels[: len(images[part])].copy_(images[part])
        _bilinear(some, x[part], y[part], buffers, resampled[part])
    return resampled


def _bilinear(pixels: Tensor, x: Tensor, y: Tensor, buffers: Tensor, out: Tensor) -> None:
    """Write images, resampled at (B, W) x and (B, H) y, to ``out``. ``buffers`` hold three blocks of images."""
    tall, wide = _between(y, pixels.shape[2]), _between(x, pixels.shape[3])
    ties = []
    for start in range(0, len(pixels), buffers.shape[1]):
        block = slice(start, start + buffers.shape[1])
        images = pixels[block]
        lines, before, after = buffers[:, : len(images)]
        _rows(images, tall.before[block], before)
        _rows(images, tall.after[block], after)
        torch.lerp(before, after, tall.share[block, None, :, None], out=lines)
        _columns(lines, wide.before[block], before)
        _columns(lines, wide.after[block], after)
        found = torch.lerp(before, after, wide.share[block, None, None], out=lines)
        rounded = torch.round(found, out=before)
        distances = torch.sub(found, rounded, out=after).abs_()
        # NumPy finds and converts faster than PyTorch.
        ties.append(np.flatnonzero(distances.numpy() > 0.5 - _TIE) + start * pixels[0].numel())
        np.copyto(out[block].numpy(), rounded.numpy(), casting="unsafe")
    # grid_sample() adds in another order, so only it can round a value halfway between two whole numbers.
    elements = torch.from_numpy(np.concatenate(ties))
    if len(elements):
        out.view(-1)[elements] = _values(pixels, x, y, elements).round().to(torch.uint8)


def _values(images: Tensor, x: Tensor, y: Tensor, elements: Tensor) -> Tensor:
    """Return what grid_sample() finds for some elements of the result, in ascending order."""
    count, channels, height, width = images.shape
    image, channel = elements // (channels * height * width), elements // (height * width) % channels
    in_image = torch.bincount(image, minlength=count)
    place = torch.arange(len(elements)) - (in_image.cumsum(0) - in_image)[image]
    grid = torch.zeros(count, 1, int(in_image.max()), 2)
    grid[image, 0, place] = torch.stack([x[image, elements % width], y[image, elements // width % height]], dim=1)
    return _interpolated(images, grid)[image, channel, 0, place]


def _places(at: Tensor, size: int) -> Tensor:
    """Return coordinates from -1 to 1 as pixels from 0 to size - 1, as grid_sample() does."""
    # In float64, because grid_sample() rounds the product and the difference together.
    return ((at + 1).double() * (size / 2) - 0.5).float().clamp(0, size - 1)


class _Between(NamedTuple):
    """The pixels before and after coordinates, and the share of the latter."""

    before: Tensor
    after: Tensor
    share: Tensor


def _between(at: Tensor, size: int) -> _Between:
    places = _places(at, size)
    before = places.floor()
    first = before.long()
    return _Between(first, (first + 1).clamp(max=size - 1), places - before)


def _rows(images: Tensor, rows: Tensor, out: Tensor | None = None) -> Tensor:
    """Return the (B, H) rows of each image. Whole rows are copied."""
    count, channels, height, width = images.shape
    places = torch.arange(count * channels).view(count, channels, 1) * height + rows[:, None]
    lines = None if out is None else out.view(-1, width)
    return torch.index_select(images.view(-1, width), 0, places.view(-1), out=lines).view(images.shape)


def _columns(images: Tensor, columns: Tensor, out: Tensor | None = None) -> Tensor:
    """Return the (B, W) columns of each image."""
    return torch.gather(images, 3, columns[:, None, None].expand(images.shape), out=out)


def _interpolated(images: Tensor, grid: Tensor, mode: str = "bilinear") -> Tensor:
    return F.grid_sample(images, grid, mode=mode, padding_mode="border", align_corners=False)


def _sampled(images: Tensor, grid: Tensor, mode: str) -> Tensor:
    crops = _interpolated(images.float(), grid, mode)
    return crops.to(images.dtype) if images.is_floating_point() else crops.round().to(images.dtype)
