"""Decodes image files to square uint8 tensors; lists the files that fail."""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from dal.data.images import ImageSource, TensorSource
from dal.errors import DalError, bad_value
from dal.runtime.console import SafeConsole

_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
MEMORY_LIMIT_BYTES = 2**30
_CHUNK = 256
_SILENT_SECONDS = 2.0
_NAMED = 3


def decode(path: Path, image_size: int) -> Tensor:
    """Return the center square of an image as (3, image_size, image_size) uint8 RGB.

    The square is resized bilinearly with antialiasing. This equals resizing the shorter side, then cropping the center.
    EXIF rotation is applied. Grayscale, palette and CMYK images are converted to RGB; 16-bit grayscale is scaled from
    0..65535. Transparent pixels become white, the usual background of such images. Only the first frame is read.

    Raises any exception of Pillow for a damaged file, and ValueError for floating-point pixels (unknown range).
    """
    with Image.open(path, formats=_FORMATS) as opened:
        # JPEG decodes faster at 1/2, 1/4 or 1/8 scale; twice the target size keeps the antialiasing effective.
        opened.draft(None, (2 * image_size, 2 * image_size))
        return square(opened, image_size)


def square(image: Image.Image, image_size: int) -> Tensor:
    """Return the center square of a PIL image, as decode does with a file."""
    image = _to_rgb(ImageOps.exif_transpose(image))
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    box = (left, top, left + side, top + side)
    resized = image.resize((image_size, image_size), Image.Resampling.BILINEAR, box=box)
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1).contiguous()


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("floating-point pixels have no known range")
    if image.mode.startswith("I"):
        wide = np.asarray(image).astype(np.int64).clip(0, 65535)
        image = Image.fromarray(((wide + 128) // 257).astype(np.uint8))
    if image.mode.lower() in ("rgba", "la", "pa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return image.convert("RGB")


class FolderSource:
    """Decodes images each time they are read: (B, 3, S, S) uint8."""

    def __init__(self, root: Path, files: Sequence[str], image_size: int) -> None:
        self.root, self.files, self.image_size = root, files, image_size

    def __len__(self) -> int:
        return len(self.files)

    def batch(self, indices: Sequence[int]) -> Tensor:
        images = torch.empty(len(indices), 3, self.image_size, self.image_size, dtype=torch.uint8)
        for row, index in enumerate(indices):
            image = _attempt(self.root, self.files[index], self.image_size)
            if isinstance(image, str):
                raise DalError(f"{self.root / self.files[index]}: was readable at setup and no longer is ({image}).")
            images[row] = image
        return images


class Readable(NamedTuple):
    """Decodable images, their paths in order, and reasons for the other paths."""

    source: ImageSource
    files: list[str]
    set_aside: dict[str, str]


def read_images(root: Path, files: Sequence[str], image_size: int, in_memory: bool | None = None) -> Readable:
    """Decode every file once, in threads, and set undecodable files aside.

    A warning names the files set aside and the reasons. True for ``in_memory`` keeps the pixels as one uint8 tensor;
    False decodes them again on each read. None keeps them in memory if they take less than 1 GiB.

    Raises DalError if no file can be decoded or image_size is less than 1.
    """
    if image_size < 1:
        raise bad_value("image_size", "at least 1 pixel", image_size)
    if in_memory is None:
        in_memory = len(files) * 3 * image_size**2 < MEMORY_LIMIT_BYTES
    images = torch.empty(len(files) if in_memory else 0, 3, image_size, image_size, dtype=torch.uint8)
    kept: list[str] = []
    set_aside: dict[str, str] = {}
    for file, image in _attempts(root, files, image_size):
        if isinstance(image, str):
            set_aside[file.encode(errors="backslashreplace").decode()] = image
            continue
        if in_memory:
            images[len(kept)] = image
        kept.append(file)
    if set_aside:
        first = "; ".join(f"{file} ({reason})" for file, reason in list(set_aside.items())[:_NAMED])
        more = "; ..." if len(set_aside) > _NAMED else ""
        found = f"{len(set_aside)} of {len(files)} images in {root}"
        if not kept:
            raise DalError(f"root: expected images that can be decoded, got {found} that cannot: {first}{more}.")
        warnings.warn(f"{found} cannot be decoded and are set aside: {first}{more}.", stacklevel=2)
    source = TensorSource(images[: len(kept)]) if in_memory else FolderSource(root, kept, image_size)
    return Readable(source, kept, set_aside)


def _attempt(root: Path, file: str, image_size: int) -> Tensor | str:
    """Return the image, or the reason why it cannot be decoded."""
    try:
        file.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    try:
        return decode(root / file, image_size)
    # Pillow's parsers raise exceptions of any type on damaged bytes.
    except Exception as error:  # noqa: BLE001
        reason = " ".join(str(error).replace(f"{root / file}", file).split())
        return reason or type(error).__name__


def _attempts(root: Path, files: Sequence[str], image_size: int) -> Iterator[tuple[str, Tensor | str]]:
    """Decode the files in order; chunks limit the images held in memory."""
    with progress(len(files)) as advance, ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        for start in range(0, len(files), _CHUNK):
            chunk = files[start : start + _CHUNK]
            yield from zip(chunk, threads.map(lambda file: _attempt(root, file, image_size), chunk), strict=True)
            advance(len(chunk))


@contextmanager
def progress(total: int) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on a terminal, after a short delay."""
    if not sys.stderr.isatty():
        yield lambda count: None
        return
    from rich.progress import Progress

    bar = Progress(console=SafeConsole(stderr=True), transient=True)
    task = bar.add_task("Checking images", total=total)
    begun = time.monotonic()

    def advance(count: int) -> None:
        bar.advance(task, count)
        if time.monotonic() - begun > _SILENT_SECONDS:
            bar.start()

    try:
        yield advance
    finally:
        bar.stop()
