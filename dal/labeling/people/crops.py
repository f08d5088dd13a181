"""Pictures of a unit for people: its pixels, and its image with the unit outlined."""

from __future__ import annotations

import io
import warnings

from PIL import Image, ImageDraw

from dal.data.sources.folder.formats import formats
from dal.data.sources.folder.pixels import upright_rgb
from dal.data.sources.folder.sizes import regular_file
from dal.errors import DalError, reason
from dal.labeling.people.masks import UnitPlace

_CONTEXT_SIDE = 1024
_OUTLINE = "#ff2d78"


def upright(place: UnitPlace) -> Image.Image:
    """Return the image of a unit as people see it. Raises DalError if it cannot be decoded."""
    try:
        with warnings.catch_warnings(), regular_file(place.path) as file:
            warnings.simplefilter("ignore")
            with Image.open(file, formats=formats(place.path.suffix)) as opened:
                return upright_rgb(opened)
    # Pillow's parsers raise exceptions of any type on damaged bytes.
    except Exception as error:
        raise DalError(f"{place.path}: expected an image that can be decoded, got {reason(error)}.") from error


def crop(image: Image.Image, place: UnitPlace) -> bytes:
    """Return the pixels of a unit as PNG."""
    x, y, width, height = place.box
    return png(image.crop((x, y, x + width, y + height)))


def context(image: Image.Image, place: UnitPlace) -> bytes:
    """Return the image as PNG, at most 1,024 pixels wide and high, with the unit outlined."""
    scale = min(1.0, _CONTEXT_SIDE / max(image.size))
    size = [max(1, round(side * scale)) for side in image.size]
    shown = image.resize((size[0], size[1]), Image.Resampling.LANCZOS) if scale < 1 else image.copy()
    x, y, width, height = (number * scale for number in place.box)
    draw = ImageDraw.Draw(shown)
    for grow, color in ((2, "white"), (1, _OUTLINE), (0, _OUTLINE)):
        draw.rectangle((x - grow, y - grow, x + width - 1 + grow, y + height - 1 + grow), outline=color)
    return png(shown)


def png(image: Image.Image) -> bytes:
    """Return an image as PNG."""
    written = io.BytesIO()
    image.save(written, "PNG")
    return written.getvalue()
