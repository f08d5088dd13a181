"""Reads the class numbers of mask files, without PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from dal.data.sources.folder.formats import formats
from dal.data.sources.folder.frames import has_more_frames
from dal.data.sources.folder.pixels import upright_image
from dal.errors import DalError, bad_content, reason

IGNORED_VALUE = 255
"""IGNORED of dal.tasks, which imports PyTorch."""
_LOSSY = {"AVIF", "HEIF", "JPEG", "JPEG2000", "MPO", "WEBP"}
_LOSSY_IN_TIFF = {"jpeg", "tiff_jpeg", "webp"}  # Pillow's names of compressions
_MODES = {"1", "I", "I;16", "I;16B", "I;16L", "L", "LA", "P", "PA"}
_PACKED = {"L;2": 85, "L;4": 17}  # Pillow multiplies gray of 2 and 4 bits by these

Array = np.ndarray[Any, Any]


def decode_numbers(
    file: BinaryIO, suffix: str, argument: str, numbers_of: Callable[[Image.Image, str], Array]
) -> Array:
    """Return the (H, W) class numbers of an open file at full size, which ``numbers_of`` reads from the image.

    Raises DalError, with ``argument``, for a file that cannot be decoded, or has several frames or lossy pixels.
    """
    try:
        with Image.open(file, formats=formats(suffix)) as opened:
            compression = opened.info.get("compression")
            if opened.format in _LOSSY or compression in _LOSSY_IN_TIFF:
                expected = "a lossless format such as PNG, because class numbers must be exact"
                raise bad_content(argument, expected, " ".join(filter(None, [opened.format, compression])))
            numbers = numbers_of(opened, argument)
            if has_more_frames(opened):
                raise bad_content(argument, "a mask of one frame or page", "several")
            return numbers
    except DalError:
        raise
    except UnidentifiedImageError as error:
        expected = "a mask that can be decoded"
        raise bad_content(argument, expected, "a file that is not an image that Pillow can read") from error
    # Pillow's parsers raise exceptions of any type on damaged bytes.
    except Exception as error:
        raise undecodable(argument, error) from error


def check_numbers(numbers: Array, num_classes: int, argument: str) -> None:
    """Raise DalError, with ``argument``, for a value that is neither a class nor 255.

    >>> check_numbers(np.array([[0, 7]]), 2, "masks/1.png")
    Traceback (most recent call last):
    dal.errors.DalError: masks/1.png: expected class numbers from 0 to 1, or 255 for ignored pixels, got 7 at x=1, y=0.
    """
    wrong = ((numbers < 0) | (numbers >= num_classes)) & (numbers != IGNORED_VALUE)
    if not wrong.any():
        return
    y, x = np.argwhere(wrong)[0].tolist()
    value = numbers[y, x].item()
    hint = ""
    if value > IGNORED_VALUE:
        hint = " (a mask of instances, such as class * 1000 + instance, has to be converted to class numbers)"
    expected = f"class numbers from 0 to {num_classes - 1}, or {IGNORED_VALUE} for ignored pixels"
    raise bad_content(argument, expected, f"{value} at x={x}, y={y}{hint}")


def undecodable(argument: str, error: Exception) -> DalError:
    """Return the error for a mask that cannot be decoded."""
    return DalError(f"{argument}: expected a mask that can be decoded, got {reason(error)}.")


def class_numbers_of(image: Image.Image, argument: str, hint: str = "") -> Array:
    """Return the (H, W) values of a PIL image in gray or with a palette, not scaled.

    Raises DalError, with ``argument`` and ``hint``, for an image in color.
    """
    if image.mode not in _MODES:
        raise bad_content(argument, f"a mask in gray or with a palette{hint}", f"mode {image.mode}")
    tile = next(iter(getattr(image, "tile", ())), None)  # empty after the pixels are read
    factor = _PACKED.get(str(tile[3]), 1) if tile else 1
    pixels = np.array(upright_image(image)).astype(np.int64)
    return (pixels if pixels.ndim == 2 else pixels[..., 0]) // factor
