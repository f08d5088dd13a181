"""Boxes of units in the pixels of image files, without PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Box(NamedTuple):
    """A rectangle of whole pixels: its left column, its top row, its width and its height."""

    x: int
    y: int
    width: int
    height: int


def box_in_file(edges: Sequence[int], image_size: int, width: int, height: int) -> Box:
    """Return the pixels of a file that a rectangle of the model's image covers.

    ``edges`` are the first row and column, and those after the last, of a square of ``image_size`` pixels. The square
    is the center of a file of ``width`` x ``height`` pixels after EXIF rotation, with side s = min(width, height). Its
    column c begins at (width - s) / 2 + c * s / image_size in the file, and its rows likewise. Edges inside a pixel are
    moved outward, so that the box has every pixel that the rectangle covers.

    >>> box_in_file((8, 0, 16, 8), image_size=16, width=100, height=64)
    Box(x=18, y=32, width=32, height=32)
    >>> box_in_file((1, 1, 2, 2), image_size=2, width=3, height=4)
    Box(x=1, y=2, width=2, height=2)
    """
    side = min(width, height)
    y0, x0, y1, x1 = edges
    left, right = _outward(x0, x1, width, side, image_size)
    top, bottom = _outward(y0, y1, height, side, image_size)
    return Box(left, top, right - left, bottom - top)


def _outward(first: int, stop: int, length: int, side: int, image_size: int) -> tuple[int, int]:
    """Return the whole pixels around two edges, of which 2 * image_size times the exact position is a whole number."""
    unit = 2 * image_size
    before = (length - side) * image_size
    return (before + 2 * first * side) // unit, -(-(before + 2 * stop * side) // unit)
