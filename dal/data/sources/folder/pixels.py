"""Converts a PIL image of any mode to 8-bit pixels.

Folders and datasets both use this conversion, so one image has the same pixels in both.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import numpy as np
from PIL import Image, ImageOps

_ALPHA = {"LA", "La", "PA", "RGBA", "RGBa"}
_UNUSED_ALPHA = {"BMP", "CUR", "DDS", "DIB", "ICO", "TGA"}  # formats whose writers often leave alpha at 0
_KEYED = {"1", "L", "P", "RGB"}  # modes in which one color can be transparent
_PACKED = {2: 85, 4: 17}  # Pillow multiplies gray of these bits per pixel
_BAND_PIXELS = 2**20
_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339  # tags of TIFF
_SIGNED = 2


class Levels(NamedTuple):
    """Metadata of a file about its pixel values."""

    highest: int | None = None
    """The value of white, or None if unknown or if Pillow has scaled the pixels to 8 bits."""
    inverted: bool = False
    """Whether 0 is white."""
    key: Any = None
    """The transparent color as a pixel value, or in Pillow's form for a palette."""
    is_opaque: bool = False
    """Whether to ignore alpha, because it is 0 everywhere in a format where it is often unused."""


def levels(image: Image.Image) -> Levels:
    """Return the range, the direction and the transparent color of the pixels.

    Call it before the pixels are read, because Pillow then drops some of this information.

    Raises ValueError if the range of the values is unknown: floating-point and signed pixels, and 32-bit integers
    outside 0..255.
    """
    tags = getattr(image, "tag_v2", {}) if image.format == "TIFF" else {}
    if image.mode == "F":
        raise ValueError("floating-point pixels have no known range; convert them to 8 or 16 bits")
    if image.mode == "L" and _SIGNED in tags.get(_SAMPLE_FORMAT, ()):
        raise ValueError("signed pixels have no known range; convert them to unsigned 8 or 16 bits")
    key = image.info.get("transparency")
    if not image.mode.startswith("I"):
        return Levels(key=_key_of_8_bits(image, key), is_opaque=_has_unused_alpha(image))
    highest = 65535
    if image.mode == "I" and image.format not in ("PNG", "PPM"):
        low, high = cast(tuple[int, int], image.getextrema())
        if low < 0 or high > 255:
            found = f"{low} to {high}"
            raise ValueError(f"integers of 32 bits from {found} have no known range; convert them to 8 or 16 bits")
        highest = 255
    elif tags:
        highest = 2 ** int(tags[_BITS_PER_SAMPLE][0]) - 1
    return Levels(highest, tags.get(_PHOTOMETRIC) == 0, key)


def to_rgb(image: Image.Image, values: Levels | None = None) -> Image.Image:
    """Return the image in mode RGB, with white behind transparent pixels.

    Gray, palette, CMYK, YCbCr and Lab images are converted. Integers of 9 to 16 bits are scaled from their full range.
    Integers of 32 bits are used unchanged if all values are from 0 to 255. ``values`` are the levels of the image, by
    default levels(image).

    Raises ValueError as levels() does.
    """
    values = levels(image) if values is None else values
    if image.mode == "RGB" and values.key is None:
        return image
    width, height = image.size
    rows = max(1, _BAND_PIXELS // width)
    if height <= rows:
        return _band_to_rgb(image, values)
    # Convert a large image in bands, because the intermediate images take several times its memory.
    whole = Image.new("RGB", image.size)
    for top in range(0, height, rows):
        band = image.crop((0, top, width, min(top + rows, height)))
        whole.paste(_band_to_rgb(band, values), (0, top))
    return whole


def upright_image(image: Image.Image) -> Image.Image:
    """Return the image after EXIF rotation."""
    if image.format == "TIFF":
        # Pillow rotates TIFF when it reads the pixels. Versions before 10.1 keep the tag, which rotates a second time.
        image.load()
        return image
    return ImageOps.exif_transpose(image)


def upright_rgb(image: Image.Image) -> Image.Image:
    """Return an image as ``Image.open`` returns it in mode RGB, after EXIF rotation.

    Raises ValueError as levels() does.
    """
    values = levels(image)
    return to_rgb(upright_image(image), values)


def dataset_pixels(image: Image.Image) -> np.ndarray[Any, Any]:
    """Return a PIL image's (H, W) or (H, W, 3) pixels.

    Images in mode L give (H, W). EXIF rotation is applied to an image as ``Image.open`` returns it. An image that the
    dataset has processed is already upright.

    Raises ValueError as levels() does.
    """
    values = levels(image)
    if image.format is not None:
        image = upright_image(image)
    if image.mode == "L":
        return np.array(image if values.key is None else to_rgb(image, values).getchannel(0))
    return np.array(to_rgb(image, values))


def _key_of_8_bits(image: Image.Image, key: Any) -> Any:
    """Scale the transparent color like the pixels, which Pillow does not."""
    if image.mode not in _KEYED:
        return None
    if image.format not in ("PNG", None) or key is None:
        return key
    tile = next(iter(getattr(image, "tile", ())), None)
    packed = str(tile[3]) if tile else ""
    if image.mode == "1":
        return 255 if key else 0
    if image.mode == "L":
        return key * _factor(image, key, packed)
    if image.mode == "RGB" and (";16" in packed or max(key) > 255):
        return tuple(level >> 8 for level in key)
    return key


def _factor(image: Image.Image, key: int, packed: str) -> int:
    """Return by what Pillow has multiplied gray pixels. ``packed`` is empty after they are read."""
    if packed:
        return next((factor for bits, factor in _PACKED.items() if f"L;{bits}" in packed), 1)
    values = [value for value, count in enumerate(image.histogram()) if count]
    for bits, factor in _PACKED.items():
        if key not in values and key < 2**bits and not any(value % factor for value in values):
            return factor
    return 1


def _has_unused_alpha(image: Image.Image) -> bool:
    if image.format not in _UNUSED_ALPHA or image.mode not in ("LA", "RGBA"):
        return False
    return image.getchannel("A").getextrema() == (0, 0)


def _band_to_rgb(image: Image.Image, values: Levels) -> Image.Image:
    if values.highest is not None:
        wide = np.asarray(image).astype(np.int64)
        scaled = (wide * 510 + values.highest) // (2 * values.highest)
        gray = (255 - scaled if values.inverted else scaled).astype(np.uint8)
        if values.key is not None:
            gray[wide == values.key] = 255
        return Image.fromarray(gray).convert("RGB")
    if values.is_opaque:
        return image.convert("RGB")
    palette_alpha = image.mode == "P" and image.palette is not None and image.palette.mode.endswith("A")
    if image.mode in _ALPHA or palette_alpha or values.key is not None:
        if values.key is not None:
            image.info["transparency"] = values.key
        # Pillow can convert La only to LA.
        layer = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return image.convert("RGB")
