"""What the page needs to show the units of images, and to take their masks."""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

from dal.errors import DalError, bad_value
from dal.labeling.people.crops import crop, png, upright
from dal.labeling.people.events import MASK, is_mask
from dal.labeling.people.masks import MaskBook, UnitPlaces
from dal.labeling.people.page.images import FolderPictures, Picture, PictureError


class UnitPictures(FolderPictures):
    """The images of units, by the number of the unit. The page draws the unit itself."""

    def __init__(self, places: UnitPlaces) -> None:
        super().__init__(places.root, places.files)
        self.places = places

    def __len__(self) -> int:
        return len(self.files) * len(self.places.grid)

    def tag(self, index: int, side: int | None = None) -> str:
        return super().tag(self.places.image(index), side)

    def picture(self, index: int, side: int | None = None) -> Picture:
        # The tag of FolderPictures is that of an image, and tag() here that of a unit.
        image = self.places.image(index)
        return FolderPictures(self.root, [self.files[image]]).picture(0, side)

    def part(self, index: int, name: str) -> Picture:
        """Return a file to draw on: the pixels of the unit, or for ``image`` all of its image. Raises PictureError."""
        try:
            place = self.places.of(index)
            image = upright(place)
        except DalError as error:
            why = str(error).partition(", got ")[2].rstrip(".")  # without the path, which the page does not show
            raise PictureError(f"This image cannot be decoded ({why}).") from None
        body = png(image) if name == "image" else crop(image, place)
        return Picture(body, "image/png", f"{self.tag(index)}-{name}")


class MaskDesk:
    """Takes the masks that browsers send. ``book`` returns what stores them, with the classes at present."""

    def __init__(self, places: UnitPlaces, book: Callable[[], MaskBook | None]) -> None:
        self.places, self._book = places, book

    def item(self, index: int) -> dict[str, Any]:
        """Return the box of a unit and the size of its image, or nothing if the image cannot be opened."""
        try:
            place = self.places.of(index)
        except DalError:
            return {}  # the page says so when it loads the image
        return {"box": list(place.box), "size": [place.width, place.height]}

    def take(self, index: int, name: str | None, data: str | None) -> str:
        """Store a mask in Base64, and return its label. Raises DalError for anything else."""
        try:
            content = base64.b64decode(data or "", validate=True)
        except (binascii.Error, ValueError):
            raise DalError("data: expected the bytes of a file in Base64, got other text.") from None
        shown = PurePosixPath((name or "mask").replace("\\", "/")).name[:200] or "mask"
        book = self._book()
        assert book is not None
        return book.label(index, io.BytesIO(content), PurePosixPath(shown).suffix, shown)

    def check(self, index: int, label: str | None) -> None:
        """Raise DalError unless a label is a stored mask of the unit."""
        book = self._book()
        assert book is not None
        if not is_mask(label) or not book.has(index, str(label).removeprefix(MASK)):
            raise bad_value("label", "a mask of the region that was sent before", label)
