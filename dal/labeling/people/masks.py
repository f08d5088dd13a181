"""Masks that people draw: checked, stored by their digest, and named in the journal."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from dal.data.boxes import Box, box_in_file
from dal.data.grid import Grid
from dal.data.sources.folder.mask_numbers import IGNORED_VALUE, check_numbers, class_numbers_of, decode_numbers
from dal.data.sources.folder.sizes import upright_size
from dal.errors import bad_content
from dal.labeling.people.events import MASK
from dal.runs.files.atomic import write_bytes
from dal.runs.layout import MASKS
from dal.runtime.refusals import explained

_PLACE = "dal"  # as in dal.data.answered_masks, which imports PyTorch


@dataclass(frozen=True)
class UnitPlace:
    """Where a unit is in its image file: its box, and the size of the image as people see it."""

    path: Path
    box: Box
    width: int
    height: int


class UnitPlaces:
    """The places of the units of images. ``files`` are the paths of the images relative to ``root``, by number."""

    def __init__(self, root: Path, files: Sequence[str], grid: Grid) -> None:
        self.root, self.files, self.grid = root, files, grid

    def image(self, index: int) -> int:
        """Return the image of a point."""
        return index // len(self.grid)

    def of(self, index: int) -> UnitPlace:
        """Return the place of a point. Raises DalError if its image cannot be opened."""
        image, unit = divmod(index, len(self.grid))
        path = self.root / self.files[image]
        width, height = upright_size(path)
        return UnitPlace(path, box_in_file(self.grid.edges(unit), self.grid.width, width, height), width, height)


@dataclass(frozen=True)
class MaskBook:
    """Takes the masks of a run, in the folder ``masks`` of ``run``.

    A mask has the size of its unit, or of the whole image, in pixels of the image as people see it. Its values are the
    numbers of ``num_classes`` classes, or 255 for ignored pixels.
    """

    run: Path
    places: UnitPlaces
    num_classes: int

    def label(self, index: int, file: BinaryIO, suffix: str, argument: str, write: bool = True) -> str:
        """Store the mask of a point, and return the label that names it in the journal.

        The file is on the disk when this returns. Without ``write``, the mask is only checked. Raises DalError, with
        ``argument``, for a file that is no mask of the point.
        """
        place = self.places.of(index)
        numbers = decode_numbers(file, suffix, argument, class_numbers_of)
        check_numbers(numbers, self.num_classes, argument)
        numbers = _of_unit(numbers, place, argument).astype(np.uint8)
        if (numbers == IGNORED_VALUE).all():
            expected = "a pixel of a class in the region, or the answer =unsure in place of a mask"
            raise bad_content(argument, expected, f"only {IGNORED_VALUE}, which is ignored")
        data = _encoded(numbers, place)
        digest = hashlib.sha256(data).hexdigest()
        path = self._path(digest)
        if write and not path.exists():
            with explained(path=path):
                path.parent.mkdir(exist_ok=True)
            write_bytes(path, data)
        return MASK + digest

    def has(self, index: int, digest: str) -> bool:
        """Return whether a mask is stored, and is one of this point."""
        try:
            with Image.open(self._path(digest), formats=("PNG",)) as image:
                text = str(image.info.get(_PLACE))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            return False
        return text == _place_text(self.places.of(index))

    def _path(self, digest: str) -> Path:
        return self.run / MASKS / f"{digest}.png"


def _place_text(place: UnitPlace) -> str:
    return " ".join(map(str, (*place.box, place.width, place.height)))


def _of_unit(numbers: np.ndarray[Any, Any], place: UnitPlace, argument: str) -> np.ndarray[Any, Any]:
    """Return the part of a mask that belongs to a unit."""
    x, y, width, height = place.box
    found = (numbers.shape[1], numbers.shape[0])
    if found == (width, height):
        return numbers
    if found == (place.width, place.height):
        return numbers[y : y + height, x : x + width]
    expected = f"{width} x {height} pixels as its region, or {place.width} x {place.height} as its image"
    raise bad_content(argument, expected, f"{found[0]} x {found[1]}")


def _encoded(numbers: np.ndarray[Any, Any], place: UnitPlace) -> bytes:
    """Return a PNG file with the class numbers, the box and the size of the image."""
    info, written = PngInfo(), io.BytesIO()
    info.add_text(_PLACE, _place_text(place))
    Image.fromarray(np.ascontiguousarray(numbers)).save(written, "PNG", pnginfo=info)
    return written.getvalue()
