"""Draws composite scenes: items placed on patches of photographs, with exact masks and boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor

from dal.runtime.seeding import generator

Array = np.ndarray[Any, Any]

_THRESHOLD = 10  # gray levels of an item; below are traces of its background
_SMALL_HOLE = 4  # pixels
_ITEM_SIDE = (0.4, 0.75)  # of the side of the scene, for the longer side of an item
_PATCH_SIDE = (1.0, 2.5)  # of the side of the scene, for the patch of a photograph
_NUM_ITEMS = (0.2, 0.7, 0.92, 1.0)  # cumulative probabilities of 0 to 3 items
_TINT = 0.6  # lowest level of a channel of the color of an item
_ATTEMPTS = 10
_VISIBLE = 0.4  # least share of each item that others leave visible
_TRAINING_SHARE = 2 / 3  # of the width of each photograph; test scenes use the rest


class Scene(NamedTuple):
    """An image, its mask, and the box and class of each item.

    ``image`` is uint8 (3, S, S), and ``mask`` is uint8 (S, S) with class numbers, 0 for the background. ``boxes`` are
    (n, 4) float32 x0, y0, x1, y1 in pixels around the visible part of each item, and ``classes`` are (n,) int64.
    """

    image: Tensor
    mask: Tensor
    boxes: Tensor
    classes: Tensor


@dataclass(frozen=True)
class SceneMaker:
    """Draws scenes of ``size`` pixels per side.

    ``items`` are (n, h, w) gray images for each class from class 1, and ``frequencies`` their shares of all items. A
    scene depends only on ``seed`` and its split and number.
    """

    items: Sequence[Array]
    frequencies: Sequence[float]
    photographs: Sequence[Array]
    size: int
    seed: int

    def scene(self, split: str, number: int) -> Scene:
        """Return a scene."""
        draw = _Draw(generator(self.seed, "scene", split, number))
        size = self.size
        pixels = self._patch(draw)
        mask = np.zeros((size, size), dtype=np.uint8)
        owner = np.zeros((size, size), dtype=np.int64)  # item number from 1; 0 is background
        areas: list[int] = []
        classes: list[int] = []
        for _ in range(int(np.searchsorted(_NUM_ITEMS, draw.share()))):
            kind = int(np.searchsorted(np.cumsum(self.frequencies)[:-1], draw.share(), side="right"))
            colors, shape = self._item(draw, kind)
            place = _free_place(draw, shape, owner, areas)
            if place is None:
                continue
            inside = np.zeros_like(owner, dtype=bool)
            inside[place] = shape
            pixels[inside] = colors[shape]
            mask[inside], owner[inside] = kind + 1, len(areas) + 1
            areas.append(int(shape.sum()))
            classes.append(kind + 1)
        boxes = [_box(owner == item + 1) for item in range(len(areas))]
        return Scene(
            torch.from_numpy(pixels).permute(2, 0, 1).contiguous(),
            torch.from_numpy(mask),
            torch.tensor(boxes, dtype=torch.float32).view(-1, 4),
            torch.tensor(classes, dtype=torch.int64),
        )

    def scenes(self, split: str, count: int) -> list[Scene]:
        """Return the first ``count`` scenes of a split."""
        return [self.scene(split, number) for number in range(count)]

    def _patch(self, draw: _Draw) -> Array:
        photograph = self.photographs[draw.below(len(self.photographs))]
        height, width = photograph.shape[:2]
        side = min(round(self.size * draw.between(*_PATCH_SIDE)), height, width)
        top, left = draw.below(height - side + 1), draw.below(width - side + 1)
        patch = Image.fromarray(photograph[top : top + side, left : left + side])
        return np.array(patch.resize((self.size, self.size), Image.Resampling.BOX))

    def _item(self, draw: _Draw, kind: int) -> tuple[Array, Array]:
        """Return the colors and the shape of a random item of a class, scaled, tinted and perhaps flipped."""
        gray, shape = cut_out(self.items[kind][draw.below(len(self.items[kind]))])
        if draw.share() < 0.5:
            gray, shape = gray[:, ::-1], shape[:, ::-1]
        longer = self.size * draw.between(*_ITEM_SIDE)
        scale = longer / max(gray.shape)
        height, width = (max(2, round(side * scale)) for side in gray.shape)
        # The mean outside of the shape keeps its border from fading to black.
        filled = np.where(shape, gray, gray[shape].mean()).astype(np.uint8)
        gray = _resized(filled, height, width)
        shape = _resized(shape.astype(np.uint8) * 255, height, width) >= 128
        tint = np.array([draw.between(_TINT, 1) for _ in range(3)])
        return np.rint(gray[..., None] * tint).astype(np.uint8), shape


def cut_out(image: Array) -> tuple[Array, Array]:
    """Return the box of the largest object in a gray image with a black background, and the shape in it.

    >>> image = np.zeros((6, 6), dtype=np.uint8)
    >>> image[1:4, 2:5] = 200
    >>> image[2, 3] = 0
    >>> int(cut_out(image)[1].sum())
    9
    """
    labels, count = ndimage.label(image > _THRESHOLD, structure=np.ones((3, 3)))
    if count == 0:
        return image, np.ones_like(image, dtype=bool)
    largest = labels == 1 + np.bincount(labels.ravel())[1:].argmax()
    # Small holes are dark pixels of the item, large ones show what is behind it.
    holes, _ = ndimage.label(ndimage.binary_fill_holes(largest) & ~largest)
    shape = largest | ((holes > 0) & (np.bincount(holes.ravel())[holes] <= _SMALL_HOLE))
    rows, columns = np.flatnonzero(shape.any(axis=1)), np.flatnonzero(shape.any(axis=0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    return image[box], shape[box]


def photograph_parts(split: str) -> list[Array]:
    """Return scikit-learn's two photographs: the left part for training, and the right part for testing."""
    parts = []
    from sklearn.datasets import load_sample_images  # loads slowly, and every start reads this file

    for photograph in load_sample_images().images:
        border = round(photograph.shape[1] * _TRAINING_SHARE)
        parts.append(photograph[:, :border] if split == "train" else photograph[:, border:])
    return parts


class _Draw:
    """Draws numbers from a generator."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def share(self) -> float:
        return float(torch.rand((), generator=self.generator, dtype=torch.float64))

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * self.share()

    def below(self, count: int) -> int:
        return min(int(self.share() * count), count - 1)


def _free_place(draw: _Draw, shape: Array, owner: Array, areas: Sequence[int]) -> tuple[slice, slice] | None:
    """Return a random place that leaves enough of each item visible, or None."""
    height, width = shape.shape
    for _ in range(_ATTEMPTS):
        top, left = draw.below(owner.shape[0] - height + 1), draw.below(owner.shape[1] - width + 1)
        place = slice(top, top + height), slice(left, left + width)
        after = owner.copy()
        after[place][shape] = 0
        visible = np.bincount(after.ravel(), minlength=len(areas) + 1)[1:]
        if all(left >= _VISIBLE * area for left, area in zip(visible.tolist(), areas, strict=True)):
            return place
    return None


def _resized(gray: Array, height: int, width: int) -> Array:
    return np.array(Image.fromarray(np.ascontiguousarray(gray)).resize((width, height), Image.Resampling.BILINEAR))


def _box(inside: Array) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
