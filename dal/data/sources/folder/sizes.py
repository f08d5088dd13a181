"""Opens image files, and reads their sizes without decoding their pixels and without PyTorch."""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from dal.data.sources.folder.formats import formats
from dal.errors import DalError, reason

SWAPPED = {5, 6, 7, 8}
"""The EXIF orientations that swap width and height."""
_ORIENTATION = 274
_EXIF_IN_PNG = (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp")


@contextmanager
def regular_file(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file for reading.

    Raises OSError for a device, a folder or a pipe, which would block.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(handle, "rb") as file:  # noqa: PTH123 (a descriptor)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError("it is not a regular file")
        yield file


def upright_size(path: Path) -> tuple[int, int]:
    """Return the width and height of an image after EXIF rotation. The pixels are not decoded.

    Raises DalError for a file that cannot be opened.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return upright(*stored_size(path))
    # Pillow's parsers raise exceptions of any type on damaged bytes.
    except Exception as error:
        raise DalError(f"{path}: expected an image that can be opened, got {reason(error)}.") from error


def upright(stored: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Return the width and height after the rotation."""
    return stored[::-1] if orientation in SWAPPED else stored


def stored_size(path: Path) -> tuple[tuple[int, int], int]:
    """Return the width and height of the pixels in a file, and its EXIF orientation."""
    with regular_file(path) as file, Image.open(file, formats=formats(path.suffix)) as image:
        size = image.size
        if image.format == "PNG":
            # Pillow decodes the pixels to look for EXIF after them.
            file.seek(0)
            content = file.read()
            if not any(mark in content for mark in _EXIF_IN_PNG):
                return size, 1
            file.seek(0)
            with Image.open(file, formats=("PNG",)) as again:
                return size, _orientation(again)
        return size, _orientation(image)


def _orientation(image: Image.Image) -> int:
    found = image.getexif().get(_ORIENTATION, 1)
    return found if found in range(2, 9) else 1
