"""Reads the images of a folder through a cache of pixels."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
import PIL
import torch
from PIL import features
from torch import Tensor

from dal.data.sources.folder.pixel_cache import Contents, Entry, Filling, PixelCache, stamp_of
from dal.errors import DalError, bad_value, reason
from dal.runtime.user_paths import exists, is_folder, user_path

AUTO = "auto"
_DECODER = 1
"""Increased with each change of decode() that changes pixels."""
_LIBRARIES = ("libjpeg_turbo", "jpg", "jpg_2000", "zlib", "libtiff", "webp", "avif")


class Fresh(NamedTuple):
    """A file that has been read: its pixels, or None if its digest is that of the cached ones."""

    image: Tensor | None
    digest: bytes
    more_frames: bool
    stamp: list[int]
    """The size and times of the file, or those of no file if it changed meanwhile."""
    seen: int
    """The time of the stamp."""


Read = Callable[[Sequence[str], Mapping[str, bytes]], Iterator[tuple[str, Fresh | str]]]
"""Reads files in order, given the digests of cached ones, and gives a reason for one that cannot be decoded."""


def cache_folder(cache: str | None, root: Path) -> Path | None:
    """Return the folder that ``data.cache`` names, or None.

    ``auto`` is ``dal/images`` in ``$XDG_CACHE_HOME``, or else in ``~/.cache``.

    Raises DalError for a path that is no folder, or that is in the folder of the images.
    """
    if cache is None:
        return None
    if cache == AUTO:
        base = os.environ.get("XDG_CACHE_HOME", "")
        return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "dal" / "images"
    folder = user_path(cache)
    if not cache or "\0" in cache or (exists(folder) and not is_folder(folder)):
        raise bad_value("data.cache", f"a folder, {AUTO} or null", cache)
    if folder.resolve().is_relative_to(root.resolve()):
        raise bad_value("data.cache", f"a folder outside of the images in {str(root)!r}", cache)
    return folder


def image_cache(folder: Path, root: Path, image_size: int) -> PixelCache:
    """Return the cache of the images in a folder at one size."""
    key = {"kind": "images", "root": os.path.realpath(root), "image_size": image_size, "decoder": decoder()}
    return PixelCache(folder, key, (3, image_size, image_size))


def decoder() -> list[Any]:
    """Return the versions of everything that decodes images."""
    versions = [features.version(name) for name in _LIBRARIES]
    try:
        from pi_heif import __version__ as heif  # optional: the extra heic
    except ImportError:
        heif = None
    return [_DECODER, PIL.__version__, heif, *versions]


class Cached(NamedTuple):
    """The cached images of a folder, and reasons for the files that cannot be decoded."""

    contents: Contents
    set_aside: dict[str, str]
    files: list[str]


def fill(cache: PixelCache, root: Path, files: Sequence[str], read: Read) -> Cached | None:
    """Read the files that are not cached into the cache, and return all.

    Returns None, with a warning, if the cache cannot be used.
    """
    try:
        contents = cache.load()
        missing = _missing(root, files, contents)
        set_aside: dict[str, str] = {}
        if missing:
            with cache.filling() as filling:
                contents = filling.contents
                missing = _missing(root, files, contents)
                listed = set(files)
                filling.drop([name for name in contents.entries if name not in listed and not exists(root / name)])
                set_aside = _fill(filling, missing, read)
        kept = [file for file in files if file not in set_aside]
        return Cached(contents, set_aside, kept)
    except OSError as error:
        where = f"{str(cache.folder)!r} cannot be used ({error.strerror or reason(error)})"
        warnings.warn(f"data.cache: {where}. The images are read without it.", stacklevel=3)
        return None


def _missing(root: Path, files: Iterable[str], contents: Contents) -> list[str]:
    missing = []
    for file in files:
        entry = contents.entries.get(file)
        try:
            is_there = entry is not None and entry.is_of(stamp_of(os.stat(f"{root}/{file}")))  # noqa: PTH116 (fast)
        except (OSError, ValueError):
            is_there = False
        if not is_there:
            missing.append(file)
    return missing


def _fill(filling: Filling, missing: Sequence[str], read: Read) -> dict[str, str]:
    entries, set_aside = filling.contents.entries, dict[str, str]()
    known = {file: bytes.fromhex(entries[file].facts[0]) for file in missing if file in entries}
    for file, found in read(missing, known):
        if isinstance(found, str):
            set_aside[file] = found
            if file in entries:
                filling.drop([file])
            continue
        if found.image is None:
            filling.keep(file, found.stamp, found.seen)
        else:
            facts = [found.digest.hex(), found.more_frames]
            filling.add(file, found.image.numpy(), found.stamp, found.seen, facts)
    return set_aside


class CachedSource:
    """Images in a memory-mapped cache: (B, 3, S, S) uint8.

    An image is checked when it is first read. One that is damaged is decoded again by ``decode``, which returns the
    image and the digest of its file.
    """

    def __init__(
        self, cache: PixelCache, contents: Contents, files: Sequence[str], decode: Callable[[str], tuple[Tensor, bytes]]
    ) -> None:
        entries: list[Entry] = [contents.entries[file] for file in files]
        self.files, self._cache, self._decode = list(files), cache, decode
        self._contents = Contents(contents.generation, contents.num_rows)  # without the entries
        self._rows = np.array([entry.row for entry in entries], dtype=np.int64)
        self._checksums = [entry.checksum for entry in entries]
        self._digests = [bytes.fromhex(entry.facts[0]) for entry in entries]
        self._is_checked = np.zeros(len(entries), dtype=bool)
        self._pixels: np.ndarray[Any, Any] | None = self._open()

    def __len__(self) -> int:
        return len(self.files)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_pixels": None}  # another process maps the file itself

    def batch(self, indices: Sequence[int]) -> Tensor:
        wanted = np.asarray(indices, dtype=np.int64)
        if self._pixels is None:
            self._pixels = self._open()
        images = self._pixels[self._rows[wanted]]
        for place in np.flatnonzero(~self._is_checked[wanted]).tolist():
            index = int(wanted[place])
            if crc32(images[place]) != self._checksums[index]:
                images[place] = self._again(index)
            else:
                self._is_checked[index] = True
        return torch.from_numpy(images)

    def digests(self, indices: Sequence[int]) -> list[bytes]:
        return [self._digests[index] for index in indices]

    def _open(self) -> np.ndarray[Any, Any]:
        shape = (self._contents.num_rows, *self._cache.shape)
        return np.memmap(self._cache.pixels(self._contents), np.uint8, mode="r", shape=shape)

    def _again(self, index: int) -> Tensor:
        file = self.files[index]
        self._cache.forget()
        where = f"data.cache: {str(self._cache.folder)!r} is damaged"
        warnings.warn(f"{where}, so images are decoded again, now and at the next start.", stacklevel=3)
        image, digest = self._decode(file)
        if digest != self._digests[index]:
            raise DalError(f"{file}: expected the image with which the run started, got another one.")
        return image
