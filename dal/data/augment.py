"""Random augmentations of whole batches, with an explicit generator.

Each augmentation is a frozen dataclass and a callable ``(images, generator) -> images``. It takes (B, C, H, W) pixels,
usually uint8, and a CPU ``torch.Generator``, and returns new pixels of the same shape, dtype and device. The input is
never modified. Random numbers are drawn on the CPU, so they are the same on every device.

Its method ``pair(images, masks, generator)`` moves (B, H, W) masks with the images, with the same random numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dal.data.augment_masks import augment_pair
from dal.data.images import Augmentation
from dal.data.resampling import resample
from dal.errors import bad_value
from dal.tasks.segmentation import IGNORED


@dataclass(frozen=True)
class RandomCrop:
    """Pads each side with zeros, or masks with 255, then crops randomly to the original size.

    Raises DalError if padding is less than 1.

    >>> images = torch.full((4, 1, 8, 8), 255, dtype=torch.uint8)
    >>> RandomCrop(padding=1)(images, torch.Generator().manual_seed(0)).shape
    torch.Size([4, 1, 8, 8])
    """

    padding: int

    def __post_init__(self) -> None:
        if self.padding < 1:
            raise bad_value("padding", "at least 1 pixel", self.padding)

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return self._crop(images, self._corners(images, generator), 0)

    def pair(self, images: Tensor, masks: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        corners = self._corners(images, generator)
        return self._crop(images, corners, 0), self._crop(masks[:, None], corners, IGNORED)[:, 0]

    def _corners(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return torch.randint(2 * self.padding + 1, (2, len(images)), generator=generator)

    def _crop(self, images: Tensor, corners: Tensor, fill: int) -> Tensor:
        # NumPy has no bfloat16.
        if images.device.type == "cpu" and images.dtype != torch.bfloat16:
            return self._slices(images, corners, fill)
        count, _, height, width = images.shape
        device = images.device
        top, left = corners.to(device)
        rows = top[:, None] + torch.arange(height, device=device)
        columns = left[:, None] + torch.arange(width, device=device)
        points = torch.arange(count, device=device)
        padded = F.pad(images, (self.padding,) * 4, value=fill)
        # Advanced indices on both sides of the slice move the channels last: (B, H, W, C).
        crops = padded[points[:, None, None], :, rows[:, :, None], columns[:, None, :]]
        return crops.permute(0, 3, 1, 2).contiguous()

    def _slices(self, images: Tensor, corners: Tensor, fill: int) -> Tensor:
        """Copy the part of each image that stays visible, as whole rows."""
        pixels = images.numpy()  # slices of NumPy arrays start faster than those of tensors
        crops = np.full(pixels.shape, fill, dtype=pixels.dtype) if fill else np.zeros_like(pixels, order="C")
        rows, columns = (_overlaps(size, self.padding) for size in pixels.shape[2:])
        for crop, image, top, left in zip(crops, pixels, *corners.tolist(), strict=True):
            (row_to, row_from), (column_to, column_from) = rows[top], columns[left]
            crop[:, row_to, column_to] = image[:, row_from, column_from]
        return torch.from_numpy(crops)


def _overlaps(size: int, padding: int) -> list[tuple[slice, slice]]:
    """Return the places in a crop and in its image that show the same pixels, for each corner of the padded image."""
    shifts = range(-padding, padding + 1)
    return [
        (slice(max(0, -shift), max(0, size - max(0, shift))), slice(max(0, shift), max(0, size + min(0, shift))))
        for shift in shifts
    ]


@dataclass(frozen=True)
class HorizontalFlip:
    """Flips each image left to right with the given probability.

    Raises DalError if the probability is not between 0 and 1.

    >>> HorizontalFlip(probability=1.0)(torch.tensor([[[[1, 2, 3]]]]), torch.Generator())
    tensor([[[[3, 2, 1]]]])
    """

    probability: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise bad_value("probability", "a number from 0 to 1", self.probability)

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return _flip(images, self._flipped(images, generator))

    def pair(self, images: Tensor, masks: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        flipped = self._flipped(images, generator)
        return _flip(images, flipped), _flip(masks[:, None], flipped)[:, 0]

    def _flipped(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return torch.rand(len(images), generator=generator) < self.probability


def _flip(images: Tensor, flipped: Tensor) -> Tensor:
    return torch.where(flipped.to(images.device)[:, None, None, None], images.flip(-1), images)


@dataclass(frozen=True)
class RandomResizedCrop:
    """Crops a random rectangle and resizes it bilinearly to the original size.

    The method is that of arXiv:1409.4842, section 6. ``scale`` is the range of the area as a share of the image.
    ``ratio`` is the range of width over height in pixels, drawn log-uniformly. A side longer than the image is clamped.
    Corners need not fall on whole pixels.

    Raises DalError if scale or ratio is not an ordered pair of positive numbers, or scale exceeds 1.

    >>> images = torch.full((2, 3, 8, 8), 7, dtype=torch.uint8)
    >>> RandomResizedCrop(scale=(0.6, 1.0))(images, torch.Generator().manual_seed(0)).unique()
    tensor([7], dtype=torch.uint8)
    """

    scale: tuple[float, float] = (0.6, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)

    def __post_init__(self) -> None:
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise bad_value("scale", "two shares of the area, 0 < low <= high <= 1", self.scale)
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise bad_value("ratio", "two positive ratios, low <= high", self.ratio)

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return resample(images, self._rectangles(images, generator))

    def pair(self, images: Tensor, masks: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        rectangles = self._rectangles(images, generator)
        return resample(images, rectangles), resample(masks[:, None], rectangles, "nearest")[:, 0]

    def _rectangles(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return the (B, 2, 3) maps of affine_grid()."""
        height, width = images.shape[2:]
        draws = torch.rand(4, len(images), generator=generator)
        area = self.scale[0] + (self.scale[1] - self.scale[0]) * draws[0]
        low, high = math.log(self.ratio[0]), math.log(self.ratio[1])
        # Width over height of the rectangle as shares of the image, which need not be square.
        stretch = torch.exp(low + (high - low) * draws[1]) * height / width
        wide, tall = (area * stretch).sqrt().clamp(max=1), (area / stretch).sqrt().clamp(max=1)
        middle_x, middle_y = (2 * draws[2] - 1) * (1 - wide), (2 * draws[3] - 1) * (1 - tall)
        zero = torch.zeros_like(wide)
        return torch.stack([wide, zero, middle_x, zero, tall, middle_y], dim=1).view(-1, 2, 3)


@dataclass(frozen=True)
class Compose:
    """Applies augmentations in sequence with the same generator.

    >>> twice = Compose([HorizontalFlip(1.0), HorizontalFlip(1.0)])
    >>> twice(torch.tensor([[[[1, 2, 3]]]]), torch.Generator())
    tensor([[[[1, 2, 3]]]])
    """

    steps: Sequence[Augmentation]

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        for step in self.steps:
            images = step(images, generator)
        return images

    def pair(self, images: Tensor, masks: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        for step in self.steps:
            images, masks = augment_pair(step, images, masks, generator)
        return images, masks
