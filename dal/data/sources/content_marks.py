"""Marks of images from their bytes: in files, arrays and columns, which are not decoded."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from dal.data.image_sources import DIGEST_BYTES, Marks, digest
from dal.data.sources.folder.sizes import regular_file

WHOLE_BYTES = 2**31
"""Maximum number of bytes of all images that are read completely."""

_BLOCK = 4096
_ABSENT = bytes(DIGEST_BYTES)
_GRID, _LEVELS = 4, 32

Span = tuple[int, int]
Read = Callable[[int, Sequence[Span]], Iterator[bytes | memoryview]]
"""Returns the bytes of an image in spans (start, stop)."""


class RememberedMarks:
    """Computes the marks of the same images once.

    Both the comparison with the test set and the fingerprint need them.
    """

    def __init__(self, compute: Callable[[Sequence[int]], Marks | None]) -> None:
        self._compute = compute
        self._known: dict[tuple[int, ...], Marks | None] = {}

    def __call__(self, indices: Sequence[int]) -> Marks | None:
        key = tuple(indices)
        if key not in self._known:
            self._known[key] = self._compute(indices)
        return self._known[key]


def content_marks(sizes: Sequence[int], read: Read) -> Marks:
    """Return marks of images whose sizes in bytes are known. A size of -1 is an image that is not there.

    Up to 2 GiB in total, a mark is the digest of all bytes of an image. Beyond, it covers the size and the first,
    middle and last 4 KiB, so that a start does not read the whole data set. Images that are not there have one mark.

    >>> content_marks([3], lambda index, spans: (b"abc"[a:b] for a, b in spans)).values == [digest([b"abc"])]
    True
    """
    is_whole = sum(size for size in sizes if size > 0) <= WHOLE_BYTES
    values = []
    for index, size in enumerate(sizes):
        if size < 0:
            values.append(_ABSENT)
        elif is_whole:
            values.append(digest(read(index, [(0, size)])))
        else:
            starts = sorted({0, max(0, (size - _BLOCK) // 2), max(0, size - _BLOCK)})
            parts = read(index, [(start, min(start + _BLOCK, size)) for start in starts])
            values.append(digest([str(size).encode(), *parts]))
    return Marks(values, is_whole and _ABSENT not in values)


def file_marks(paths: Sequence[str | Path]) -> Marks:
    """Return marks of the content of files. One that is missing or not regular has the mark of no file."""

    return content_marks([_size(path) for path in paths], lambda index, spans: _spans_of(Path(paths[index]), spans))


def _spans_of(path: Path, spans: Sequence[Span]) -> Iterator[bytes]:
    try:
        with regular_file(path) as file:
            for start, stop in spans:
                file.seek(start)
                yield file.read(stop - start)
    except OSError:
        yield _ABSENT


def _size(path: str | Path) -> int:
    try:
        found = Path(path).stat()
    except (OSError, ValueError):
        return -1
    return found.st_size if stat.S_ISREG(found.st_mode) else -1


def has_bytes(value: Tensor | np.ndarray[Any, Any]) -> bool:
    """Return whether an array keeps its numbers itself, in one block of memory."""
    if isinstance(value, Tensor):
        is_plain = not value.is_nested and value.layout == torch.strided and value.device.type != "meta"
        return is_plain and not value.is_complex() and not value.is_quantized
    return not value.dtype.hasobject


def array_marks(rows: Any, indices: Sequence[int]) -> Marks:
    """Return marks of rows of a tensor, a NumPy array, or a sequence of them. See has_bytes()."""

    def read(index: int, spans: Sequence[Span]) -> Iterator[memoryview]:
        row = rows[indices[index]]
        # A view of the bytes, so that blocks of a memory-mapped array are read alone.
        if isinstance(row, Tensor):
            content = row.detach().cpu().flatten().view(torch.uint8).numpy()
        else:
            content = np.ascontiguousarray(row).reshape(-1).view(np.uint8)
        yield from (content[start:stop].data for start, stop in spans)

    return content_marks([int(rows[index].nbytes) for index in indices], read)


def column_marks(table: Any, column: str, indices: Sequence[int]) -> Marks | None:
    """Return marks of the encoded images in a column of a Hugging Face dataset, or None for another kind of column.

    A cell contains the bytes of an image file, or a struct of bytes and path. One without bytes names a file.
    """
    from pyarrow import compute, types

    cells = table.data.column(column)
    parts = {"bytes": cells}
    if types.is_struct(cells.type):
        parts = {cells.type.field(place).name: values for place, values in enumerate(cells.flatten())}
    contents, paths = parts.get("bytes"), parts.get("path")
    if contents is None or not (types.is_binary(contents.type) or types.is_large_binary(contents.type)):
        return None
    kept = getattr(table, "_indices", None)
    places = indices if kept is None else [kept.column(0)[index].as_py() for index in indices]
    lengths = compute.binary_length(contents).to_pylist()

    def path(index: int) -> Path:
        return Path("" if paths is None else str(paths[places[index]].as_py() or ""))

    def read(index: int, spans: Sequence[Span]) -> Iterator[bytes | memoryview]:
        if lengths[places[index]] is None:
            yield from _spans_of(path(index), spans)
            return
        content = memoryview(contents[places[index]].as_buffer())
        yield from (content[start:stop] for start, stop in spans)

    sizes = [_size(path(index)) if lengths[place] is None else lengths[place] for index, place in enumerate(places)]
    return content_marks(sizes, read)


def coarse_mark(image: Tensor) -> bytes:
    """Return a mark of a decoded image (C, H, W): its shape, and the means of 4 x 4 blocks in 32 levels.

    Processors and versions of libraries round differently, and a run must resume on another machine.
    """
    # Sums of whole numbers are exact on every processor, so the division is last.
    means = adaptive_avg_pool2d(image.double().nan_to_num(), _GRID) / (255 if image.dtype == torch.uint8 else 1)
    levels = (means * _LEVELS).clamp(-(2**40), 2**40).round().long()
    return digest([repr((str(image.dtype), tuple(image.shape))).encode(), levels.numpy().tobytes()])
