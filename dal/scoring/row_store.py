"""Where the rows of a pass over the pool are kept: in memory, on the device that made them, or on disk."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from dal.acquisition.base import Summary
from dal.acquisition.search.rows import DiskRows, Rows
from dal.errors import bad_value

Kept = dict[str, Rows]
"""What a pass kept, by name, rows in the order of the points."""

_ON_DISK = {torch.float16: np.float16, torch.float32: np.float32, torch.float64: np.float64, torch.bfloat16: np.float32}


class RowStore:
    """Takes the rows of ``num_rows`` points, a few at a time and in order.

    Rows of more than one number lie on disk where all rows together would take more than half of ``memory_budget``
    bytes; there bfloat16 becomes float32, which loses nothing. Where they fit they stay on ``device`` if they take a
    quarter of its memory at most, for selection to run there, and else lie in main memory. Files are in ``folder``
    (the system's temporary one if None) and gone with the process, however it ends.

    >>> store = RowStore(3)
    >>> store.append({"scores": torch.tensor([1.0, 2.0])})
    >>> store.append({"scores": torch.tensor([3.0])})
    >>> store.finish()
    {'scores': tensor([1., 2., 3.])}
    """

    def __init__(
        self,
        num_rows: int,
        memory_budget: int | None = None,
        device: torch.device | None = None,
        folder: str | None = None,
    ) -> None:
        self.num_rows, self.memory_budget, self.folder = num_rows, memory_budget, folder
        self.device = device or torch.device("cpu")
        self.filled = 0
        self._parts: dict[str, _Part] | None = None

    def where(self, rows: Summary) -> torch.device:
        """The device that rows like these are kept on."""
        num_bytes = self._bytes(rows)
        stays = num_bytes <= _memory_of(self.device) // 4 and not self._exceeds(num_bytes)
        return self.device if stays else torch.device("cpu")

    def append(self, rows: Summary) -> None:
        """The next rows: as many of each part."""
        if self._parts is None:
            self._parts = self._begin(rows)
        for name, values in rows.items():
            self._parts[name].write(self.filled, values)
        self.filled += len(next(iter(rows.values()), ()))

    def finish(self) -> Kept:
        """All rows; an empty dict where none came."""
        assert self.filled == self.num_rows or not self._parts
        return {name: part.rows() for name, part in (self._parts or {}).items()}

    def _begin(self, rows: Summary) -> dict[str, _Part]:
        on_disk, device = self._exceeds(self._bytes(rows)), self.where(rows)
        made: dict[str, _Part] = {}
        for name, part in rows.items():
            if on_disk and part.ndim == 2 and part.shape[1] > 1 and part.dtype in _ON_DISK:
                made[name] = _OnDisk(self.num_rows, part, self.folder)
            else:
                made[name] = _InMemory(self.num_rows, part, device)
        return made

    def _bytes(self, rows: Summary) -> int:
        return sum(self.num_rows * part[:1].numel() * part.element_size() for part in rows.values())

    def _exceeds(self, num_bytes: int) -> bool:
        return self.memory_budget is not None and num_bytes > self.memory_budget // 2


class _Part(Protocol):
    def write(self, at: int, values: Tensor) -> None: ...

    def rows(self) -> Rows: ...


class _InMemory:
    # Made at full size at once: joining the pieces at the end would hold everything twice.
    def __init__(self, num_rows: int, like: Tensor, device: torch.device) -> None:
        try:
            self._rows = torch.empty(num_rows, *like.shape[1:], dtype=like.dtype, device=device)
        except torch.OutOfMemoryError:  # others use this GPU too
            self._rows = torch.empty(num_rows, *like.shape[1:], dtype=like.dtype)

    def write(self, at: int, values: Tensor) -> None:
        self._rows[at : at + len(values)] = values

    def rows(self) -> Tensor:
        return self._rows


class _OnDisk:
    def __init__(self, num_rows: int, like: Tensor, folder: str | None) -> None:
        dtype = np.dtype(_ON_DISK[like.dtype])
        self._folder = folder or tempfile.gettempdir()
        # Without a name as soon as it is made, so that nothing is left behind by a crash.
        with _said_of(self._folder):
            self._file = tempfile.TemporaryFile(prefix="dal-", dir=folder)  # noqa: SIM115
            head = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False}
            np.lib.format.write_array_header_2_0(self._file, head | {"shape": (num_rows, like.shape[1])})

    def write(self, at: int, values: Tensor) -> None:
        values = values.float() if values.dtype == torch.bfloat16 else values
        with _said_of(self._folder):
            self._file.write(np.ascontiguousarray(values.cpu().numpy()).data)

    def rows(self) -> DiskRows:
        with _said_of(self._folder):
            self._file.flush()
        return DiskRows.of_file(self._file)


@contextmanager
def _said_of(folder: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise bad_value(
            "scoring.disk_folder", "a folder with room to write in", f"{folder} ({error.strerror})"
        ) from error


def _memory_of(device: torch.device) -> int:
    """Bytes, of a device that has its own."""
    return torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else 0
