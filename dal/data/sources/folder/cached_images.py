"""Reads the images of a folder through a cache of pixels."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL
import torch
from PIL import features
from torch import Tensor

from dal.data.sources.folder.pixel_cache import (
    CachedRows,
    Contents,
    Filling,
    PixelCache,
    missing_files,
    stamps_now,
    warn_unusable,
)
from dal.errors import DalError, bad_value
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
        folder = Path(base) if Path(base).is_absolute() else user_path("~/.cache")
        if not folder.is_absolute():
            raise bad_value("data.cache", "a folder, because there is no home folder", cache)
        return folder / "dal" / "images"
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
        contents, set_aside = cache.load(), dict[str, str]()
        stamps = {file: stamps_now([f"{root}/{file}"]) for file in files}
        if missing_files(stamps, contents):
            with cache.filling() as filling:
                contents = filling.contents
                filling.drop([name for name in contents.entries if name not in stamps and not exists(root / name)])
                set_aside = _fill(filling, missing_files(stamps, contents), read)
        return Cached(contents, set_aside, [file for file in files if file not in set_aside])
    except OSError as error:
        warn_unusable(cache, error)
        return None


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

    ``decode`` returns an image that is damaged there, and the digest of its file.
    """

    def __init__(
        self, cache: PixelCache, contents: Contents, files: Sequence[str], decode: Callable[[str], tuple[Tensor, bytes]]
    ) -> None:
        entries = [contents.entries[file] for file in files]
        self.files, self._decode = list(files), decode
        self._digests = [bytes.fromhex(entry.facts[0]) for entry in entries]
        self._rows = CachedRows(cache, contents, entries, self._again)

    def __len__(self) -> int:
        return len(self.files)

    def batch(self, indices: Sequence[int]) -> Tensor:
        return torch.from_numpy(self._rows.read(np.asarray(indices, dtype=np.int64)))

    def digests(self, indices: Sequence[int]) -> list[bytes]:
        return [self._digests[index] for index in indices]

    def _again(self, index: int) -> np.ndarray[Any, Any]:
        image, digest = self._decode(self.files[index])
        if digest != self._digests[index]:
            expected = "expected the image with which the run started, got another one"
            raise DalError(f"{self.files[index]}: {expected}.")
        return image.numpy()
