"""How images of any shape become squares, and which pixels of a file a box of the square covers."""

from __future__ import annotations

from dal.errors import unknown_choice

FITS = ("crop", "stretch")

Edges = tuple[float, float, float, float]
"""The left, top, right and bottom edges of a box."""


def check_fit(fit: object) -> str:
    """Return a valid fit. Raises DalError for another name."""
    if fit not in FITS:
        raise unknown_choice("data.fit", FITS, str(fit))
    return str(fit)


def used_box(width: int, height: int, fit: str) -> Edges:
    """Return the edges of the part of an image that becomes the square.

    ``crop`` takes the center square, ``stretch`` the whole image.

    >>> used_box(8, 6, "crop"), used_box(8, 6, "stretch")
    ((1.0, 0.0, 7.0, 6.0), (0.0, 0.0, 8.0, 6.0))
    """
    if fit == "stretch":
        return 0.0, 0.0, float(width), float(height)
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


def to_file(box: Edges, image_size: int, size: tuple[int, int], fit: str) -> Edges:
    """Return a box of the square in pixels of the image, whose ``size`` is its width and height.

    >>> to_file((0, 0, 16, 32), 32, (100, 64), "stretch")
    (0.0, 0.0, 50.0, 64.0)
    """
    left, top, right, bottom = used_box(*size, fit)
    wide, high = (right - left) / image_size, (bottom - top) / image_size
    return left + box[0] * wide, top + box[1] * high, left + box[2] * wide, top + box[3] * high


def to_square(box: Edges, image_size: int, size: tuple[int, int], fit: str) -> Edges:
    """Return a box of the image in pixels of the square, as the inverse of to_file().

    Parts of a box outside of the square are cut off.
    """
    left, top, right, bottom = used_box(*size, fit)
    wide, high = image_size / (right - left), image_size / (bottom - top)
    moved = (box[0] - left) * wide, (box[1] - top) * high, (box[2] - left) * wide, (box[3] - top) * high
    x0, y0, x1, y1 = (min(max(edge, 0.0), float(image_size)) for edge in moved)
    return x0, y0, x1, y1
