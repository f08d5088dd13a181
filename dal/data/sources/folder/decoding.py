"""Decodes image files to square uint8 tensors, and lists failures."""

from __future__ import annotations

import hashlib
import io
import os
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from threading import Lock
from types import MappingProxyType
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import get_worker_info

from dal.data.images import DIGEST_BYTES, ImageSource, TensorSource
from dal.data.sources.folder.cached_images import CachedSource, Fresh, cache_folder, fill, image_cache
from dal.data.sources.folder.formats import formats
from dal.data.sources.folder.frames import has_more_frames, warn_of_frames
from dal.data.sources.folder.names import is_utf8
from dal.data.sources.folder.pixel_cache import NO_STAMP, stamp_of
from dal.data.sources.folder.pixels import levels, to_rgb, upright_image
from dal.data.sources.folder.progress import progress
from dal.data.sources.folder.sizes import regular_file
from dal.errors import DalError, bad_value
from dal.runtime.cores import usable_cores

_MAX_PIXELS = 89_478_485  # Pillow warns above this
_LARGE_PIXELS = 2**24
MEMORY_LIMIT_BYTES = 2**30
_CHUNK = 256
_NAMED = 3
_ORIENTATION = 274  # EXIF
_READ_AT_ONCE = 2**24  # bytes of a file
_MOST_THREADS = 8


def decode(path: Path, image_size: int) -> Tensor:
    """Return an image's center square as (3, S, S) uint8 RGB.

    S is ``image_size``. The square is resized bilinearly with antialiasing, which equals resizing the shorter side and
    then cropping the center. EXIF rotation is applied. to_rgb() converts the other modes. Only the first frame is read.

    Raises any exception of Pillow for a damaged file, OSError for anything except a regular file, and ValueError for
    pixels of an unknown range, or for more than 89 million pixels that cannot be read at a smaller scale.
    """
    with regular_file(path) as file:
        return _square(file, path.suffix, image_size, nullcontext())[0]


def _square(file: BinaryIO, suffix: str, image_size: int, turn: AbstractContextManager[object]) -> tuple[Tensor, bool]:
    """Decode as decode() does, and return whether there are more frames.

    Large images acquire ``turn``, so that only one at a time is in memory.
    """
    with (
        open_limited(file, formats(suffix), image_size) as opened,
        turn if opened.width * opened.height > _LARGE_PIXELS else nullcontext(),
    ):
        return square(opened, image_size), has_more_frames(opened)


def open_limited(file: BinaryIO, names: tuple[str, ...], image_size: int | None) -> Image.Image:
    """Open an image whose pixels are not read yet.

    ``names`` are the possible formats. ``image_size`` allows a JPEG to be read at a smaller scale.

    Raises ValueError for more than 89 million pixels.
    """
    try:
        opened = Image.open(file, formats=names)
    except Image.DecompressionBombError:
        raise ValueError(f"it has more than {2 * _MAX_PIXELS:,} pixels; make it smaller") from None
    if image_size is not None:
        # JPEG decodes faster at 1/2, 1/4 or 1/8 scale. Twice the target size keeps the antialiasing effective.
        opened.draft(None, (2 * image_size, 2 * image_size))
    if opened.width * opened.height > _MAX_PIXELS:
        found = f"{opened.width:,} x {opened.height:,} pixels"
        opened.close()
        raise ValueError(f"{found} are more than the limit of {_MAX_PIXELS:,}; make it smaller")
    return opened


def square(image: Image.Image, image_size: int) -> Tensor:
    """Return a PIL image's center square, as decode() does for files.

    Raises ValueError as levels() does.
    """
    values = levels(image)
    is_plain = image.mode == "RGB" and values.key is None and not _is_turned(image)
    # upright_image() copies an upright image, too.
    image = image if is_plain else to_rgb(upright_image(image), values)
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    box = (left, top, left + side, top + side)
    resized = image.resize((image_size, image_size), Image.Resampling.BILINEAR, box=box)
    # Pillow writes each row as a line of each channel, which leaves only whole lines to copy.
    lines = np.frombuffer(resized.tobytes("raw", "RGB;L"), np.uint8).reshape(image_size, 3, image_size)
    return torch.from_numpy(lines.transpose(1, 0, 2).copy())


def _is_turned(image: Image.Image) -> bool:
    # Pillow itself reads the pixels of a PNG first, because EXIF can follow them. After the pixels, Pillow 10 cannot
    # read the EXIF of TIFF.
    return bool(image.getexif().get(_ORIENTATION, 1) != 1)


class FolderSource:
    """Decodes images each time they are read: (B, 3, S, S) uint8.

    With ``check``, an image whose file no longer has its digest is an error.
    """

    def __init__(
        self,
        root: Path,
        files: Sequence[str],
        image_size: int,
        digests: Sequence[bytes] | None = None,
        check: bool = False,
    ) -> None:
        self.root, self.files, self.image_size, self._digests = root, files, image_size, digests
        self._check = check

    def __len__(self) -> int:
        return len(self.files)

    def batch(self, indices: Sequence[int]) -> Tensor:
        images = torch.empty(len(indices), 3, self.image_size, self.image_size, dtype=torch.uint8)
        # A worker of a loader has a core of its own.
        threads = 1 if get_worker_info() else min(_MOST_THREADS, usable_cores(), len(indices))
        if threads <= 1:
            for row, index in enumerate(indices):
                images[row] = self._image(index)
            return images
        with ThreadPoolExecutor(threads) as pool:
            for row, image in enumerate(pool.map(self._image, indices)):
                images[row] = image
        return images

    def _image(self, index: int) -> Tensor:
        file = self.files[index]
        image, digest = _again(self.root, self.image_size, file)
        if self._check and self._digests is not None and digest != self._digests[index]:
            raise DalError(f"{self.root / file}: expected the image with which the run started, got another one.")
        return image

    def digests(self, indices: Sequence[int]) -> list[bytes] | None:
        return None if self._digests is None else [self._digests[index] for index in indices]


class Readable(NamedTuple):
    """Decodable images, their paths in order, and reasons for the other paths.

    ``first_frames`` are the paths of images of which only the first frame is read.
    """

    source: ImageSource
    files: list[str]
    set_aside: dict[str, str]
    first_frames: list[str]


def printable(file: str) -> str:
    """Return a path with escapes for bytes that are not UTF-8."""
    return file.encode(errors="backslashreplace").decode()


def read_images(
    root: Path, files: Sequence[str], image_size: int, in_memory: bool | None = None, cache: str | None = None
) -> Readable:
    """Decode every file once, in threads, and set undecodable files aside.

    A warning names the files set aside and the reasons, and another the files with several frames. If ``in_memory`` is
    True, the pixels are kept as one uint8 tensor. If it is False, they are decoded again on each read. None keeps them
    in memory if they take less than 1 GiB. ``cache`` is as in cache_folder(). With a cache, only files that are not in
    it are decoded, and the pixels stay on disk unless ``in_memory`` is True.

    Raises DalError if no file can be decoded or image_size is less than 1.
    """
    if image_size < 1:
        raise bad_value("image_size", "at least 1 pixel", image_size)
    folder = cache_folder(cache, root)
    found = None if folder is None else _through_cache(folder, root, files, image_size, bool(in_memory))
    if found is None:
        if in_memory is None:
            in_memory = len(files) * 3 * image_size**2 < MEMORY_LIMIT_BYTES
        found = _decoded(root, files, image_size, in_memory)
    if found.set_aside:
        first = "; ".join(f"{file} ({reason})" for file, reason in list(found.set_aside.items())[:_NAMED])
        more = "; ..." if len(found.set_aside) > _NAMED else ""
        words = f"{len(found.set_aside)} of {len(files)} images in {root}"
        if not found.files:
            raise DalError(f"root: expected images that can be decoded, got {words} that cannot: {first}{more}.")
        warnings.warn(f"{words} cannot be decoded and are set aside: {first}{more}.", stacklevel=2)
    warn_of_frames(found.first_frames, f"{len(files)} images in {root}")
    return found


def _decoded(root: Path, files: Sequence[str], image_size: int, in_memory: bool) -> Readable:
    images = torch.empty(len(files) if in_memory else 0, 3, image_size, image_size, dtype=torch.uint8)
    kept, digests, first_frames = list[str](), list[bytes](), list[str]()
    set_aside: dict[str, str] = {}
    for file, read in _attempts(root, image_size, files):
        if isinstance(read, str):
            set_aside[printable(file)] = read
            continue
        if in_memory and read.image is not None:
            images[len(kept)] = read.image
        kept.append(file)
        digests.append(read.digest)
        if read.more_frames:
            first_frames.append(file)
    if in_memory:
        return Readable(TensorSource(images[: len(kept)], digests), kept, set_aside, first_frames)
    return Readable(FolderSource(root, kept, image_size, digests), kept, set_aside, first_frames)


def _through_cache(folder: Path, root: Path, files: Sequence[str], image_size: int, in_memory: bool) -> Readable | None:
    """Read the images through the cache in a folder, or return None if it cannot be used."""
    cache = image_cache(folder, root, image_size)
    cached = fill(cache, root, files, partial(_attempts, root, image_size))
    if cached is None:
        return None
    set_aside = {printable(file): reason for file, reason in cached.set_aside.items()}
    first_frames = [file for file in cached.files if cached.contents.entries[file].facts[1]]
    if not cached.files:
        return Readable(TensorSource(torch.empty(0, 3, image_size, image_size, dtype=torch.uint8)), [], set_aside, [])
    source = CachedSource(cache, cached.contents, cached.files, partial(_again, root, image_size))
    if not in_memory:
        return Readable(source, cached.files, set_aside, first_frames)
    places = range(len(source))
    in_tensor = TensorSource(source.batch(places), source.digests(places))
    return Readable(in_tensor, cached.files, set_aside, first_frames)


def _again(root: Path, image_size: int, file: str) -> tuple[Tensor, bytes]:
    read = _attempt(root, file, image_size, nullcontext())
    if isinstance(read, str) or read.image is None:
        raise DalError(f"{root / file}: readable at setup, but not now ({read}).")
    return read.image, read.digest


def _attempt(
    root: Path, file: str, image_size: int, turn: AbstractContextManager[object], known: bytes | None = None
) -> Fresh | str:
    """Return the image, its file's digest and stamp, or a failure reason.

    There is no image if the digest is the ``known`` one.
    """
    if not is_utf8(file):
        return "its name is not UTF-8"
    path = root / file
    try:
        with regular_file(path) as opened:
            seen, stamp = time.time_ns(), stamp_of(os.fstat(opened.fileno()))
            content, digest = _content(opened)
            image, more_frames = None, False
            if digest != known:
                image, more_frames = _square(content, path.suffix, image_size, turn)
            is_same = stamp == stamp_of(os.fstat(opened.fileno()))
            return Fresh(image, digest, more_frames, stamp if is_same else NO_STAMP, seen)
    except UnidentifiedImageError:
        return "it is not an image that Pillow can read"
    # Pillow's parsers raise exceptions of any type on damaged bytes.
    except Exception as error:  # noqa: BLE001
        reason = " ".join(str(error).replace(f"{path}", file).split())
        return reason or type(error).__name__


def _content(file: BinaryIO) -> tuple[BinaryIO, bytes]:
    """Return the file, or its content in memory if it is small, and its digest."""
    if os.fstat(file.fileno()).st_size > _READ_AT_ONCE:
        digest = hashlib.file_digest(cast(Any, file), _short_digest).digest()
        file.seek(0)
        return file, digest
    content = file.read()
    return io.BytesIO(content), hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()


def _short_digest() -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=DIGEST_BYTES)


def _attempts(
    root: Path, image_size: int, files: Sequence[str], known: Mapping[str, bytes] = MappingProxyType({})
) -> Iterator[tuple[str, Fresh | str]]:
    """Decode the files in order, in chunks that limit memory. ``known`` maps files to known digests."""
    turn = Lock()
    with progress(len(files)) as advance, ThreadPoolExecutor(min(_MOST_THREADS, usable_cores())) as threads:
        for start in range(0, len(files), _CHUNK):
            chunk = files[start : start + _CHUNK]
            with warnings.catch_warnings():
                # _square() limits the decoded pixels. A large JPEG has more, but is decoded at a smaller scale.
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                finished = list(
                    threads.map(lambda file: _attempt(root, file, image_size, turn, known.get(file)), chunk)
                )
            yield from zip(chunk, finished, strict=True)
            advance(len(chunk))
