"""Reads the masks of a folder through a cache of their class numbers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dal.data.masks import mask_digest
from dal.data.sources.folder.cached_images import decoder
from dal.data.sources.folder.pixel_cache import (
    NO_STAMP,
    CachedRows,
    Contents,
    PixelCache,
    missing_files,
    stamps_now,
    warn_unusable,
)
from dal.errors import DalError
from dal.tasks.segmentation import IGNORED


class Pair(NamedTuple):
    """The file of an image and that of its mask, or None."""

    image: Path
    mask: Path | None


class MaskFacts(NamedTuple):
    """The digest of a mask, whether it has a class, and the values of ReadMask."""

    digest: bytes
    is_known: bool
    counts: Tensor
    is_turned: bool
    is_mask_turned: bool
    left_out: int


class ReadMask(NamedTuple):
    """The center of a mask, with the pixels of each value at full size.

    ``is_turned`` is whether only the EXIF rotation of the image turns it, and ``is_mask_turned`` whether only its own
    does. ``left_out`` pixels are outside of the center.
    """

    mask: Tensor
    counts: Tensor
    is_turned: bool = False
    is_mask_turned: bool = False
    left_out: int = 0

    def facts(self) -> MaskFacts:
        known = bool((self.mask != IGNORED).any())
        return MaskFacts(mask_digest(self.mask), known, *self[1:])


ReadPairs = Callable[[Sequence[Pair]], Iterator[tuple[Pair, ReadMask]]]


def no_mask(size: int) -> Tensor:
    """Return the mask of an image without labels."""
    return torch.full((size, size), IGNORED, dtype=torch.uint8)


def mask_cache(folder: Path, root: Path, image_size: int, reader: Sequence[Any]) -> PixelCache:
    """Return the cache of the masks in a folder at one size. ``reader`` is what their class numbers depend on."""
    key = {"kind": "masks", "root": os.path.realpath(root), "image_size": image_size, "decoder": decoder()}
    return PixelCache(folder, key | {"reader": list(reader)}, (image_size, image_size))


class CachedMasks:
    """Masks in a memory-mapped cache: (B, S, S) uint8."""

    def __init__(
        self,
        cache: PixelCache,
        contents: Contents,
        pairs: Sequence[Pair],
        facts: Sequence[MaskFacts],
        read: ReadPairs,
    ) -> None:
        self.pairs, self.facts, self._read = list(pairs), list(facts), read
        masks = [pair.mask for pair in pairs]
        self._places = np.full(len(pairs), -1, dtype=np.int64)
        there = [index for index, mask in enumerate(masks) if mask is not None]
        self._places[there] = np.arange(len(there))
        self._of_place, self._size = there, cache.shape[0]
        entries = [contents.entries[str(masks[index])] for index in there]
        self._rows = CachedRows(cache, contents, entries, self._again)

    def __len__(self) -> int:
        return len(self.pairs)

    def batch(self, indices: Sequence[int]) -> Tensor:
        places = self._places[np.asarray(indices, dtype=np.int64)]
        masks = np.full((len(places), self._size, self._size), IGNORED, dtype=np.uint8)
        if (places >= 0).any():
            masks[places >= 0] = self._rows.read(places[places >= 0])
        return torch.from_numpy(masks)

    def digests(self, indices: Sequence[int]) -> list[bytes]:
        return [self.facts[index].digest for index in indices]

    def _again(self, place: int) -> np.ndarray[Any, Any]:
        index = self._of_place[place]
        ((pair, read),) = self._read([self.pairs[index]])
        if mask_digest(read.mask) != self.facts[index].digest:
            raise DalError(f"{pair.mask}: expected the mask with which the run started, got another one.")
        return read.mask.numpy()


def masks_through(cache: PixelCache, pairs: Sequence[Pair], read: ReadPairs) -> CachedMasks | None:
    """Read the masks that are not cached into the cache, and return all.

    Returns None, with a warning, if the cache cannot be used.
    """
    by_name = {str(pair.mask): pair for pair in pairs if pair.mask is not None}
    try:
        contents = cache.load()
        stamps = {name: stamps_now([name, pair.image]) for name, pair in by_name.items()}
        if missing_files(stamps, contents):
            with cache.filling() as filling:
                contents = filling.contents
                filling.drop([name for name in contents.entries if name not in by_name and not Path(name).exists()])
                missing = missing_files(stamps, contents)
                # The times are taken before any file is read.
                seen, before = time.time_ns(), {name: stamps_now([name, by_name[name].image]) for name in missing}
                for pair, found in read([by_name[name] for name in missing]):
                    name = str(pair.mask)
                    now = stamps_now([name, pair.image])
                    stamp = now if now is not None and now == before[name] else NO_STAMP
                    filling.add(name, found.mask.numpy(), stamp, seen, _saved(found.facts()))
        facts = [_loaded(contents.entries[str(pair.mask)].facts) if pair.mask else None for pair in pairs]
        none = ReadMask(no_mask(cache.shape[0]), torch.zeros(IGNORED + 1, dtype=torch.int64)).facts()
        return CachedMasks(cache, contents, pairs, [none if fact is None else fact for fact in facts], read)
    except OSError as error:
        warn_unusable(cache, error)
        return None


def _saved(facts: MaskFacts) -> list[Any]:
    values = facts.counts.nonzero().flatten().tolist()
    counts = [[value, int(facts.counts[value])] for value in values]
    return [facts.digest.hex(), facts.is_known, counts, *facts[3:]]


def _loaded(saved: Sequence[Any]) -> MaskFacts:
    digest, is_known, pairs, *others = saved
    counts = torch.zeros(IGNORED + 1, dtype=torch.int64)
    for value, count in pairs:
        counts[value] = count
    return MaskFacts(bytes.fromhex(digest), is_known, counts, *others)
