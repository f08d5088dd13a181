"""Decodes the masks of a folder, aligned with the images."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dal.data.masks import MaskSource, TensorMasks
from dal.data.sources.folder.cached_masks import MaskFacts, Pair, ReadMask, mask_cache, masks_through, no_mask
from dal.data.sources.folder.decoding import MEMORY_LIMIT_BYTES
from dal.data.sources.folder.listing import shown
from dal.data.sources.folder.mask_classes import ColorTable
from dal.data.sources.folder.mask_numbers import check_numbers, class_numbers_of, decode_numbers, undecodable
from dal.data.sources.folder.pixels import upright_image
from dal.data.sources.folder.progress import progress
from dal.data.sources.folder.sizes import SWAPPED, regular_file, stored_size, upright
from dal.errors import bad_content
from dal.runtime.cores import usable_cores
from dal.tasks.segmentation import IGNORED

_CHUNK = 256
_FEW = 0.01  # share of pixels that needs no warning


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
            with regular_file(path) as file:
                return self.decode(file, path.suffix, str(path))
        except OSError as error:
            raise undecodable(str(path), error) from error

    def decode(self, file: BinaryIO, suffix: str, argument: str) -> Tensor:
        """Return the class numbers of an open file as read() does. Errors begin with ``argument``."""
        numbers = decode_numbers(file, suffix, argument, self._numbers)
        check_numbers(numbers, self.num_classes, argument)
        return torch.from_numpy(numbers).to(torch.uint8)

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
        return self.colors.numbers(np.array(upright_image(image).convert("RGB")), argument)


class FolderMasks:
    """Decodes masks each time they are read: (B, S, S) uint8."""

    def __init__(self, pairs: Sequence[Pair], reader: MaskReader, image_size: int, digests: Sequence[bytes]) -> None:
        self.pairs, self.reader, self.image_size, self._digests = pairs, reader, image_size, digests

    def __len__(self) -> int:
        return len(self.pairs)

    def batch(self, indices: Sequence[int]) -> Tensor:
        paths = [self.pairs[index].mask for index in indices]
        return torch.stack([self._mask(path) for path in paths])

    def _mask(self, path: Path | None) -> Tensor:
        if path is None:
            return no_mask(self.image_size)
        return center(self.reader.read(path), self.image_size)

    def digests(self, indices: Sequence[int]) -> list[bytes]:
        return [self._digests[index] for index in indices]


def center(mask: Tensor, size: int) -> Tensor:
    """Return the center square of a mask at its nearest pixels, as square() does with the image."""
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

    A mask whose pixels are all ignored is none, and a warning names it. Another warning names images and masks with an
    EXIF rotation that the size of the other does not confirm. A third says how many pixels the center squares leave
    out. ``in_memory`` is as in read_images(). ``cache`` are the folder of a cache and that of the masks. With a cache,
    only masks that are not in it are decoded.

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
    """Warn about masks that are ignored everywhere, rotations that are not certain, and pixels that are left out."""
    both = list(zip(pairs, facts, strict=True))
    ignored = [str(pair.mask) for pair, one in both if pair.mask is not None and not one.is_known]
    turned = [str(pair.image) for pair, one in both if one.is_turned]
    masks_turned = [str(pair.mask) for pair, one in both if one.is_mask_turned]
    for names, what in (
        (ignored, f"masks with only ignored pixels ({IGNORED}) in the square, whose images are points without labels"),
        (turned, "images with an EXIF rotation, whose masks are read as masks of the rotated images"),
        (masks_turned, "masks with an EXIF rotation that their images do not have, which are rotated"),
    ):
        if names:
            warnings.warn(f"{len(names):,} {what}: {shown(names)}.", stacklevel=3)
    left_out = sum(one.left_out for one in facts)
    if left_out >= _FEW * (total := int(_sum(facts).sum())) and left_out:
        widest = max(both, key=lambda one: one[1].left_out)[0].image
        images = f"{len(pairs):,} images, such as {widest}," if len(pairs) > 1 else str(widest)
        share = f"{100 * left_out / total:.0f} % of the pixels of {images}"
        warnings.warn(
            f"{share} are outside the center squares, so they are neither bought nor measured. Cut the images into "
            "squares to keep them.",
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
        return ReadMask(no_mask(size), torch.zeros(IGNORED + 1, dtype=torch.int64))
    mask = reader.read(pair.mask)
    stored, orientation = stored_size(pair.image)
    of_mask = stored_size(pair.mask)[1]
    expected_size = upright(stored, orientation)
    found = (mask.shape[1], mask.shape[0])
    if found != expected_size:
        got = f"{found[0]} x {found[1]}"
        if orientation in SWAPPED and found == stored:
            got += ", the size before the EXIF rotation of the image; save the image upright without EXIF"
        elif of_mask in SWAPPED:
            got += " after the EXIF rotation of the mask; save the mask without EXIF"
        expected = f"{expected_size[0]} x {expected_size[1]} pixels as in {pair.image}"
        raise bad_content(str(pair.mask), expected, got)
    # The size of a mask confirms a rotation by a quarter, unless the image is a square. So does the same rotation.
    is_open = orientation not in SWAPPED or stored[0] == stored[1]
    is_turned = is_open and orientation not in (1, of_mask)
    is_mask_turned = of_mask != 1 and orientation == 1
    counts = mask.flatten().long().bincount(minlength=IGNORED + 1)
    return ReadMask(center(mask, size), counts, is_turned, is_mask_turned, mask.numel() - min(found) ** 2)


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
