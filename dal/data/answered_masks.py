"""AnsweredMasks: the masks that people have drawn so far, from the files of a run."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dal.data.boxes import Box
from dal.data.grid import Grid
from dal.data.masks import renumbering
from dal.errors import DalError
from dal.tasks import IGNORED

PLACE = "dal"
"""The key of the text of a mask file with the box in the image, and the size of the image."""

Array = np.ndarray[Any, Any]


class StoredMask(NamedTuple):
    """The class numbers of a box of an image file, and the size of the image as people see it."""

    numbers: Array
    box: Box
    width: int
    height: int


class AnsweredMasks:
    """The masks of units of images that people have drawn: (B, S, S) uint8, and 255 elsewhere.

    ``grid`` has the units of an image. open() names the folder of the files, and take() which of them count.
    """

    def __init__(self, count: int, grid: Grid) -> None:
        self.grid = grid
        self.version = 0
        """Changes whenever the masks change."""
        self._count = count
        self._folder: Path | None = None
        self._digests: dict[int, dict[int, str]] = {}  # by image and unit
        self._seen: dict[tuple[str, int], Tensor] = {}
        self._table = renumbering([])

    def __len__(self) -> int:
        return self._count

    def open(self, folder: Path) -> None:
        """Read the masks from this folder from now on."""
        self._folder = folder

    def with_grid(self, grid: Grid) -> AnsweredMasks:
        """Return masks of the same images with other units, without answers."""
        return AnsweredMasks(self._count, grid)

    def take(self, masks: Mapping[int, str | None], into: Sequence[int], num_classes: int) -> None:
        """Make these digests the masks of points. None is no mask. Other points keep theirs.

        ``into[number]`` is the class that now has the pixels of a class. Pixels of a class that the model does not have
        yet are ignored.
        """
        for point, digest in masks.items():
            image, unit = divmod(point, len(self.grid))
            if not 0 <= image < self._count:
                continue
            if digest is None:
                self._digests.get(image, {}).pop(unit, None)
            else:
                self._digests.setdefault(image, {})[unit] = digest
        self._table = renumbering([number if number < num_classes else IGNORED for number in into])
        self.version += 1

    def batch(self, indices: Sequence[int]) -> Tensor:
        found = torch.full((len(indices), self.grid.height, self.grid.width), IGNORED, dtype=torch.uint8)
        for row, image in enumerate(indices):
            for unit, digest in self._digests.get(int(image), {}).items():
                y0, x0, y1, x1 = self.grid.edges(unit)
                found[row, y0:y1, x0:x1] = self._table[self._unit(digest, unit).long()]
        return found

    def _unit(self, digest: str, unit: int) -> Tensor:
        key = (digest, unit)
        if key not in self._seen:
            assert self._folder is not None, "open() comes first"
            stored = read_mask(self._folder, digest)
            self._seen[key] = torch.from_numpy(resized(stored, self.grid.width, self.grid.edges(unit)))
        return self._seen[key]


def mask_path(folder: Path, digest: str) -> Path:
    """Return the file of a mask."""
    return folder / f"{digest}.png"


def read_mask(folder: Path, digest: str) -> StoredMask:
    """Return a mask by its digest. Raises DalError for a file that is missing or has another content."""
    path = mask_path(folder, digest)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DalError(f"masks: expected the file {str(path)!r}, got {error.strerror}. Restore it.") from error
    if hashlib.sha256(data).hexdigest() != digest:
        raise DalError(f"masks: {str(path)!r} is damaged. Restore it.")
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            numbers = np.array(image)
            *box, width, height = map(int, str(image.info[PLACE]).split())
        return StoredMask(numbers, Box(*box), width, height)
    except (OSError, ValueError, LookupError, TypeError, SyntaxError, Image.DecompressionBombError) as error:
        raise DalError(f"masks: {str(path)!r} is no mask that dal has written. Restore it.") from error


def resized(stored: StoredMask, image_size: int, edges: Sequence[int]) -> Array:
    """Return the pixels of a unit as the model sees them: those of a mask of the whole image, resized as images are.

    ``edges`` are those of the unit in the center square of ``image_size`` pixels.

    >>> mask = StoredMask(np.array([[7, 8], [9, 7]], dtype=np.uint8), Box(1, 0, 2, 2), width=4, height=2)
    >>> resized(mask, 4, (0, 0, 2, 4)).tolist()
    [[7, 7, 8, 8], [7, 7, 8, 8]]
    """
    y0, x0, y1, x1 = edges
    side = min(stored.width, stored.height)
    rows = _nearest(stored.height, side, image_size)[y0:y1] - stored.box.y
    columns = _nearest(stored.width, side, image_size)[x0:x1] - stored.box.x
    return np.ascontiguousarray(stored.numbers[np.ix_(rows, columns)])


@lru_cache(maxsize=64)
def _nearest(length: int, side: int, size: int) -> Array:
    """Return the pixels of a line that Pillow keeps when it resizes the center to the nearest pixels."""
    line = Image.fromarray(np.arange(length, dtype=np.int32)[None])
    left = (length - side) / 2
    resized_line = line.resize((size, 1), Image.Resampling.NEAREST, box=(left, 0, left + side, 1))
    kept: Array = np.array(resized_line)[0]
    return kept
