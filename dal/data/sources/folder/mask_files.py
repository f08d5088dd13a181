"""Decodes the masks of a folder, aligned with the images."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from dal.data.masks import MaskSource, TensorMasks, check_classes
from dal.data.sources.folder.cached_masks import MaskFacts, Pair, ReadMask, mask_cache, masks_through, no_mask
from dal.data.sources.folder.decoding import MEMORY_LIMIT_BYTES, regular_file
from dal.data.sources.folder.formats import formats
from dal.data.sources.folder.frames import has_more_frames
from dal.data.sources.folder.listing import shown
from dal.data.sources.folder.mask_classes import ColorTable
from dal.data.sources.folder.progress import progress
from dal.errors import DalError, bad_content, reason
from dal.runtime.cores import usable_cores
from dal.tasks.segmentation import IGNORED

_CHUNK = 256
_LOSSY = {"AVIF", "HEIF", "JPEG", "JPEG2000", "MPO", "WEBP"}
_ORIENTATION, _SWAPPED = 274, {5, 6, 7, 8}  # EXIF
_EXIF_IN_PNG = (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp")
_MODES = {"1", "I", "I;16", "I;16B", "I;16L", "L", "LA", "P", "PA"}
_PACKED = {"L;2": 85, "L;4": 17}  # Pillow multiplies gray of 2 and 4 bits by these


Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class MaskReader:
    """Reads masks of a number of classes, by number or by color.

    >>> MaskReader(2).read(Path("no.png"))
    Traceback (most recent call last):
    dal.errors.DalError: no.png: expected a mask that can be decoded, got [Errno 2] No such file or directory: 'no.png'.
    """

    num_classes: int
    colors: ColorTable | None = None

    def read(self, path: Path) -> Tensor:
        """Return the (H, W) uint8 class numbers of a file at full size.

        Raises DalError for a file that cannot be decoded, has several frames or lossy pixels, or holds other values.
        """
        try:
            with regular_file(path) as file, Image.open(file, formats=formats(path.suffix)) as opened:
                if opened.format in _LOSSY:
                    expected = "a lossless format such as PNG, because class numbers must be exact"
                    raise bad_content(str(path), expected, str(opened.format))
                numbers = self._numbers(opened, str(path))
                if has_more_frames(opened):
                    raise bad_content(str(path), "a mask of one frame or page", "several")
        except DalError:
            raise
        # Pillow's parsers raise exceptions of any type on damaged bytes.
        except Exception as error:
            raise DalError(f"{path}: expected a mask that can be decoded, got {reason(error)}.") from error
        mask = torch.from_numpy(numbers)
        check_classes(mask, self.num_classes, str(path))
        return mask.to(torch.uint8)

    def key(self) -> list[Any]:
        """Return what the class numbers of a file depend on."""
        return [self.num_classes, None if self.colors is None else self.colors.content()]

    def _numbers(self, image: Image.Image, argument: str) -> Array:
        if self.colors is None:
            return class_numbers_of(image, argument, " (masks in color need a file colors.csv)")
        if image.mode.startswith(("I", "F")):
            raise bad_content(
                argument, "colors of 8 bits, because there is a color table", f"a mask in mode {image.mode}"
            )
        return self.colors.numbers(np.array(ImageOps.exif_transpose(image).convert("RGB")), argument)


def class_numbers_of(image: Image.Image, argument: str, hint: str = "") -> Array:
    """Return the (H, W) values of a PIL image in gray or with a palette, not scaled.

    Raises DalError, with ``argument`` and ``hint``, for an image in color.
    """
    if image.mode not in _MODES:
        raise bad_content(argument, f"a mask in gray or with a palette{hint}", f"mode {image.mode}")
    tile = next(iter(getattr(image, "tile", ())), None)  # empty after the pixels are read
    factor = _PACKED.get(str(tile[3]), 1) if tile else 1
    pixels = np.array(ImageOps.exif_transpose(image)).astype(np.int64)
    return (pixels if pixels.ndim == 2 else pixels[..., 0]) // factor


class FolderMasks:
    """Decodes masks each time they are read: (B, S, S) uint8."""

    def __init__(self, pairs: Sequence[Pair], reader: MaskReader, image_size: int, digests: Sequence[bytes]) -> None:
        self.pairs, self.reader, self.image_size, self._digests = pairs, reader, image_size, digests

    def __len__(self) -> int:
        return len(self.pairs)

    def batch(self, indices: Sequence[int]) -> Tensor:
        paths = [self.pairs[index].mask for index in indices]
        size = self.image_size
        return torch.stack([no_mask(size) if path is None else center(self.reader.read(path), size) for path in paths])

    def digests(self, indices: Sequence[int]) -> list[bytes]:
        return [self._digests[index] for index in indices]


def center(mask: Tensor, size: int) -> Tensor:
    """Return the center square of a mask, resized to the nearest pixels, as square() does with the image."""
    image = Image.fromarray(mask.numpy())
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    box = (left, top, left + side, top + side)
    return torch.from_numpy(np.array(image.resize((size, size), Image.Resampling.NEAREST, box=box)))


class ReadMasks(NamedTuple):
    """The masks of a folder, which of them have a class, and the number of pixels of each value at full size."""

    source: MaskSource
    known: list[bool]
    counts: Tensor


def read_masks(
    pairs: Sequence[Pair],
    reader: MaskReader,
    image_size: int,
    in_memory: bool | None = None,
    cache: tuple[Path, Path] | None = None,
) -> ReadMasks:
    """Decode and check every mask once, in threads.

    A mask whose pixels are all ignored is none, and a warning names it. Another warning names images with an EXIF
    rotation that the size of the mask does not confirm. ``in_memory`` is as in read_images(). ``cache`` are the folder
    of a cache and that of the masks. With a cache, only masks that are not in it are decoded.

    Raises DalError for the first mask that cannot be read, or does not have the size of its image.
    """
    read, source = partial(_read_pairs, reader=reader, size=image_size), None
    if cache is not None:
        source = masks_through(mask_cache(*cache, image_size, reader.key()), pairs, read)
    if source is not None:
        _warn_of_masks(pairs, source.facts)
        return ReadMasks(source, [one.is_known for one in source.facts], _sum(source.facts))
    if in_memory is None:
        in_memory = len(pairs) * image_size**2 < MEMORY_LIMIT_BYTES
    kept = torch.empty(len(pairs) if in_memory else 0, image_size, image_size, dtype=torch.uint8)
    facts = list[MaskFacts]()
    for row, (_, found) in enumerate(read(pairs)):
        if in_memory:
            kept[row] = found.mask
        facts.append(found.facts())
    _warn_of_masks(pairs, facts)
    digests = [one.digest for one in facts]
    masks = TensorMasks(kept, digests) if in_memory else FolderMasks(pairs, reader, image_size, digests)
    return ReadMasks(masks, [one.is_known for one in facts], _sum(facts))


def _sum(facts: Sequence[MaskFacts]) -> Tensor:
    counts = torch.zeros(IGNORED + 1, dtype=torch.int64)
    for one in facts:
        counts += one.counts
    return counts


def _warn_of_masks(pairs: Sequence[Pair], facts: Sequence[MaskFacts]) -> None:
    """Warn about masks that are ignored everywhere, and about masks of turned images."""
    both = list(zip(pairs, facts, strict=True))
    if ignored := [str(pair.mask) for pair, one in both if pair.mask is not None and not one.is_known]:
        warnings.warn(
            f"{len(ignored):,} masks have only ignored pixels ({IGNORED}) in the square that is used, so their images "
            f"are points without labels: {shown(ignored)}.",
            stacklevel=3,
        )
    if turned := [str(pair.image) for pair, one in both if one.is_turned]:
        warnings.warn(
            f"{len(turned):,} images have an EXIF rotation, and their masks are read as masks of the rotated images: "
            f"{shown(turned)}.",
            stacklevel=3,
        )


def _read_pairs(pairs: Sequence[Pair], reader: MaskReader, size: int) -> Iterator[tuple[Pair, ReadMask]]:
    with progress(len(pairs)) as advance, ThreadPoolExecutor(min(8, usable_cores())) as threads:
        for start in range(0, len(pairs), _CHUNK):
            chunk = pairs[start : start + _CHUNK]
            with warnings.catch_warnings():
                # Only the size of a large image is read here.
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                finished = list(threads.map(lambda pair: _read_pair(pair, reader, size), chunk))
            yield from zip(chunk, finished, strict=True)
            advance(len(chunk))


def _read_pair(pair: Pair, reader: MaskReader, size: int) -> ReadMask:
    if pair.mask is None:
        return ReadMask(no_mask(size), torch.zeros(IGNORED + 1, dtype=torch.int64), False)
    mask = reader.read(pair.mask)
    stored, orientation = _stored_size(pair.image)
    upright = stored[::-1] if orientation in _SWAPPED else stored
    found = (mask.shape[1], mask.shape[0])
    if found != upright:
        got = f"{found[0]} x {found[1]}"
        if orientation in _SWAPPED and found == stored:
            got += ", the size before the EXIF rotation of the image; save the image upright without EXIF"
        expected = f"{upright[0]} x {upright[1]} pixels as in {pair.image}"
        raise bad_content(str(pair.mask), expected, got)
    is_turned = orientation != 1 and (orientation not in _SWAPPED or stored[0] == stored[1])
    return ReadMask(center(mask, size), mask.flatten().long().bincount(minlength=IGNORED + 1), is_turned)


def _stored_size(path: Path) -> tuple[tuple[int, int], int]:
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


def check_seen_classes(counts: Tensor, num_classes: int, argument: str) -> None:
    """Raise DalError unless the masks have pixels of two classes.

    >>> check_seen_classes(torch.tensor([90] + [0] * 254 + [10]), 2, "data.masks")
    Traceback (most recent call last):
    dal.errors.DalError: data.masks: expected pixels of at least two of the 2 classes, got only class 0 and 255, which \
is ignored (if 255 is a class, list (255, 255, 255) in colors.csv).
    """
    seen = counts[:IGNORED].nonzero().flatten().tolist()
    if len(seen) >= 2:
        return
    got = f"only class {seen[0]}" if seen else "none"
    if int(counts[IGNORED]):
        got += f" and {IGNORED}, which is ignored (if {IGNORED} is a class, list (255, 255, 255) in colors.csv)"
    raise bad_content(argument, f"pixels of at least two of the {num_classes} classes", got)
