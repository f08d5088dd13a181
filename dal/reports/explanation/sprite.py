"""Thumbnails in one picture per section."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dal.reports.offline.markup import escape

SIDE = 64
"""The longest side of a thumbnail, in pixels."""
_COLUMNS, _QUALITY = 20, 70


@dataclass(frozen=True)
class Sprite:
    """A picture with the thumbnails of ``points``, in rows of 20 tiles."""

    key: str
    points: tuple[int, ...]
    picture: bytes
    """WebP."""

    @classmethod
    def of(
        cls, key: str, image_of: Callable[[str, int], NDArray[np.uint8] | None], split: str, points: Sequence[int]
    ) -> Sprite | None:
        """Return the thumbnails of these points of a split, or None if there is no image."""
        found = {point: image for point in dict.fromkeys(points) if (image := image_of(split, point)) is not None}
        if not found:
            return None
        sheet = Image.new("RGB", (_COLUMNS * SIDE, -(-len(found) // _COLUMNS) * SIDE), (128, 128, 128))
        for at, image in enumerate(found.values()):
            small = thumbnail(image)
            left, top = (at % _COLUMNS) * SIDE, (at // _COLUMNS) * SIDE
            sheet.paste(small, (left + (SIDE - small.width) // 2, top + (SIDE - small.height) // 2))
        file = io.BytesIO()
        sheet.save(file, "WEBP", quality=_QUALITY, method=4)
        return cls(key, tuple(found), file.getvalue())

    @cached_property
    def _places(self) -> dict[int, int]:
        return {point: at for at, point in enumerate(self.points)}

    @property
    def style(self) -> str:
        """The CSS of the thumbnails."""
        picture = base64.b64encode(self.picture).decode()
        return f".{self.key}-thumb {{ background-image: url(data:image/webp;base64,{picture}) }}\n"

    def offset(self, point: int) -> tuple[int, int] | None:
        """The position of a tile in pixels, or None if the point has none."""
        at = self._places.get(point)
        if at is None:
            return None
        return (at % _COLUMNS) * SIDE, (at // _COLUMNS) * SIDE

    def element(self, point: int, description: str) -> str:
        """Return the thumbnail of a point as HTML, or an empty text."""
        offset = self.offset(point)
        if offset is None:
            return ""
        position = f"background-position: -{offset[0]}px -{offset[1]}px"
        return (
            f'<span class="thumb {self.key}-thumb" style="{position}" role="img" aria-label="{escape(description)}">'
            "</span>"
        )


def thumbnail(image: NDArray[np.uint8]) -> Image.Image:
    """Return an image whose longest side is at most SIDE. Small images grow by a whole factor, without smoothing."""
    pixels = image if image.ndim == 2 else image[..., 0] if image.shape[-1] not in (3, 4) else image[..., :3]
    picture = Image.fromarray(np.ascontiguousarray(pixels)).convert("RGB")
    longest = max(picture.size)
    if longest <= SIDE // 2:
        factor = SIDE // longest
        return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    if longest > SIDE:
        picture.thumbnail((SIDE, SIDE), Image.Resampling.BILINEAR)
    return picture
