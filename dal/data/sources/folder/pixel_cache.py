"""Keeps decoded pixels on disk, for later starts and for other runs.

A cache of a folder, an image size and a decoder has two files. ``NAME.index`` maps files to rows, and
``NAME-GENERATION.pixels`` holds the rows. Rows are appended and never change, so processes can read while another one
writes. A new index replaces the old one after its rows are on disk. A killed process therefore leaves a valid cache.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple
from zlib import crc32

import numpy as np
from filelock import FileLock, Timeout

from dal.errors import reason
from dal.runtime.refusals import check_regular

Array = np.ndarray[Any, Any]

_PUBLISH_SECONDS = 30.0
_WAIT_SECONDS = 2.0
_SETTLED_NS = 2 * 10**9
"""A file that changed this recently can change again without another time, because file systems round times."""
_SPARE_ROWS = 1024
_GENERATION = re.compile("[0-9a-f]{16}")
NO_STAMP = [-1, 0, 0]
"""The stamp of no file."""


class Entry(NamedTuple):
    """A cached file: its row and its checksum, the stamp of the file, the time of the stamp, and what else is known."""

    row: int
    checksum: int
    stamp: list[int]
    seen: int
    facts: list[Any]

    def is_of(self, stamp: Sequence[int]) -> bool:
        """Return whether a file with this stamp now is the one that was read."""
        return self.stamp == stamp and max(self.stamp) + _SETTLED_NS < self.seen


def stamp_of(found: os.stat_result) -> list[int]:
    """Return size, time of modification and time of change."""
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns]


@dataclass
class Contents:
    """What an index says."""

    generation: str = field(default_factory=lambda: secrets.token_hex(8))
    num_rows: int = 0
    entries: dict[str, Entry] = field(default_factory=dict)


class PixelCache:
    """The cache of rows of one shape in a folder. ``key`` is everything that the pixels of a file depend on."""

    def __init__(self, folder: Path, key: Mapping[str, Any], shape: Sequence[int]) -> None:
        text = json.dumps(key, sort_keys=True)
        name = hashlib.blake2b(text.encode(), digest_size=10).hexdigest()
        self.folder, self.shape, self.row_bytes = folder, tuple(shape), int(np.prod(shape))
        self._name, self._key, self.index = name, json.loads(text), folder / f"{name}.index"

    def pixels(self, contents: Contents) -> Path:
        """Return the file of the rows."""
        return self.folder / f"{self._name}-{contents.generation}.pixels"

    def load(self) -> Contents:
        """Return what is cached: nothing if there is no index, or with a warning if it is damaged.

        Raises OSError if it cannot be read.
        """
        if not os.path.lexists(self.index):
            return Contents()
        check_regular(self.index)
        checksum, _, text = self.index.read_bytes().partition(b"\n")
        try:
            if checksum.decode("ascii") != _digest(text):
                raise ValueError("its checksum is wrong")
            saved = json.loads(text)
            if saved["key"] != self._key:
                raise ValueError("it belongs to other files")
            entries = {name: Entry(*values) for name, values in saved["entries"].items()}
            contents = Contents(saved["generation"], saved["rows"], entries)
            if not (_GENERATION.fullmatch(contents.generation) and all(map(_is_entry, entries.values()))):
                raise ValueError("unexpected value")
            check_regular(self.pixels(contents))
            if self.pixels(contents).stat().st_size < contents.num_rows * self.row_bytes:
                raise ValueError("rows are missing")
            if any(not 0 <= entry.row < contents.num_rows for entry in entries.values()):
                raise ValueError("an entry has no row")
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError, FileNotFoundError):
            warnings.warn(f"data.cache: {str(self.index)!r} is damaged, so the files are read again.", stacklevel=2)
            return Contents()
        return contents

    @contextmanager
    def filling(self) -> Iterator[Filling]:
        """Yield the contents for additions. Other processes wait, and read what is there.

        The additions are published at the end, also of a block that fails or is interrupted.

        Raises OSError if the cache cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / f"{self._name}.lock")
        if os.path.lexists(lock.lock_file):
            check_regular(Path(lock.lock_file))
        try:
            lock.acquire(timeout=_WAIT_SECONDS)
        except Timeout:
            warnings.warn("data.cache: waiting for another process that fills it.", stacklevel=3)
            lock.acquire()
        except NotImplementedError as error:  # a network file system without locks
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK)) from error
        try:
            filling = Filling(self, self._compact(self.load()))
            try:
                yield filling
            finally:
                filling.close()
        finally:
            lock.release()

    def _compact(self, contents: Contents) -> Contents:
        """Copy the rows in use to a new file if most are not in use, and remove files of other generations."""
        if contents.num_rows > 2 * len(contents.entries) + _SPARE_ROWS:
            fewer = Contents(num_rows=len(contents.entries))
            with self.pixels(contents).open("rb") as old, self.pixels(fewer).open("xb") as new:
                for row, (name, entry) in enumerate(contents.entries.items()):
                    old.seek(entry.row * self.row_bytes)
                    new.write(old.read(self.row_bytes))
                    fewer.entries[name] = entry._replace(row=row)
                _to_disk(new)
            self.publish(fewer)
            contents = fewer
        for path in self.folder.glob(f"{self._name}-*.pixels"):
            if path != self.pixels(contents):
                with suppress(OSError):  # Windows keeps files that are open
                    path.unlink()
        return contents

    def publish(self, contents: Contents) -> None:
        """Replace the index, whose rows are on disk."""
        saved = {
            "key": self._key,
            "generation": contents.generation,
            "rows": contents.num_rows,
            "entries": contents.entries,
        }
        text = json.dumps(saved, separators=(",", ":")).encode()
        new = self.index.with_suffix(".new")
        with new.open("wb") as file:
            file.write(_digest(text).encode("ascii") + b"\n" + text)
            _to_disk(file)
        new.replace(self.index)

    def forget(self) -> None:
        """Remove the index, so that the next start reads the files again."""
        with suppress(OSError):
            self.index.unlink()


class Filling:
    """Additions to a cache, whose lock this process holds."""

    def __init__(self, cache: PixelCache, contents: Contents) -> None:
        self.contents, self._cache = contents, cache
        self._published, self._is_new, self._failed = time.monotonic(), False, False
        self._committed = contents.num_rows
        path = cache.pixels(contents)
        self._file: BinaryIO = path.open("r+b" if path.exists() else "x+b")
        self._file.seek(contents.num_rows * cache.row_bytes)

    def add(self, name: str, pixels: Array, stamp: list[int], seen: int, facts: list[Any]) -> None:
        """Append the pixels of a file."""
        content = np.ascontiguousarray(pixels).tobytes()
        try:
            self._file.write(content)
        except OSError:
            self._failed = True
            raise
        row = self.contents.num_rows
        self.contents.num_rows += 1  # first, because the index can be published with the entry
        self._set(name, Entry(row, crc32(content), stamp, seen, facts))

    def keep(self, name: str, stamp: list[int], seen: int) -> None:
        """Note that a file with another stamp has the content that is cached."""
        self._set(name, self.contents.entries[name]._replace(stamp=stamp, seen=seen))

    def drop(self, names: Sequence[str]) -> None:
        """Remove entries of files that are gone."""
        for name in names:
            del self.contents.entries[name]
            self._is_new = True

    def _set(self, name: str, entry: Entry) -> None:
        self.contents.entries[name] = entry
        self._is_new = True
        if time.monotonic() - self._published > _PUBLISH_SECONDS:
            self._publish()

    def _publish(self) -> None:
        begun = time.monotonic()
        _to_disk(self._file)
        self._cache.publish(self.contents)
        self._committed, self._is_new = self.contents.num_rows, False
        # A large index takes long to write, so it is written more rarely.
        self._published = time.monotonic() + 10 * (time.monotonic() - begun)

    def close(self) -> None:
        """Publish what is added. After a failed write, remove it instead."""
        try:
            if self._is_new and not self._failed:
                self._publish()
        finally:
            with suppress(OSError):
                self._file.close()
            if self._is_new:
                with suppress(OSError):
                    os.truncate(self._cache.pixels(self.contents), self._committed * self._cache.row_bytes)


class CachedRows:
    """Memory-mapped rows of a cache by position.

    A row is checked when it is first read. ``again`` returns the content of a damaged row by its position.
    """

    def __init__(
        self, cache: PixelCache, contents: Contents, entries: Sequence[Entry], again: Callable[[int], Array]
    ) -> None:
        self._cache, self._again = cache, again
        self._path, self._shape = cache.pixels(contents), (contents.num_rows, *cache.shape)
        self._rows = np.array([entry.row for entry in entries], dtype=np.int64)
        self._checksums = [entry.checksum for entry in entries]
        self._is_checked = np.zeros(len(entries), dtype=bool)
        self._mapped: Array | None = self._map() if len(entries) else None

    def __len__(self) -> int:
        return len(self._rows)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_mapped": None}  # another process maps the file itself

    def read(self, places: Array) -> Array:
        """Return a copy of rows."""
        if self._mapped is None:
            self._mapped = self._map()
        found: Array = self._mapped[self._rows[places]]
        for position in np.flatnonzero(~self._is_checked[places]).tolist():
            place = int(places[position])
            if crc32(found[position]) == self._checksums[place]:
                self._is_checked[place] = True
            else:
                found[position] = self._repaired(place)
        return found

    def _map(self) -> Array:
        return np.memmap(self._path, np.uint8, mode="r", shape=self._shape)

    def _repaired(self, place: int) -> Array:
        self._cache.forget()
        where = f"data.cache: {str(self._cache.folder)!r} is damaged"
        warnings.warn(f"{where}, so files are read again, now and at the next start.", stacklevel=4)
        return self._again(place)


def _is_entry(entry: Entry) -> bool:
    """Return whether an entry from an index has values of the right types."""
    numbers = [entry.row, entry.checksum, entry.seen, *entry.stamp]
    is_digest = bool(bytes.fromhex(entry.facts[0]))
    return is_digest and bool(entry.stamp) and all(type(number) is int for number in numbers)


def missing_files(stamps: Mapping[str, list[int] | None], contents: Contents) -> list[str]:
    """Return the files that are not cached with their current stamps."""
    entries = contents.entries
    return [name for name, stamp in stamps.items() if not (stamp and name in entries and entries[name].is_of(stamp))]


def stamps_now(paths: Sequence[str | Path]) -> list[int] | None:
    """Return the stamps of files in one list, or None if a file cannot be found."""
    try:
        return [number for path in paths for number in stamp_of(os.stat(path))]  # noqa: PTH116 (faster)
    except (OSError, ValueError):
        return None


def warn_unusable(cache: PixelCache, error: OSError) -> None:
    """Warn that the operating system refuses to read or write a cache."""
    where = f"{str(cache.folder)!r} cannot be used ({error.strerror or reason(error)})"
    warnings.warn(f"data.cache: {where}. The files are read without it.", stacklevel=4)


def _to_disk(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
