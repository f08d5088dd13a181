"""Stores the rows of a pass on a device or on disk."""

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
"""The rows of a pass by name, in the order of the points."""

_ON_DISK = {torch.float16: np.float16, torch.float32: np.float32, torch.float64: np.float64, torch.bfloat16: np.float32}


class RowStore:
    """Stores the rows of ``num_rows`` points, appended in order.

    If all rows exceed half of ``memory_budget`` bytes, rows of more than one number are stored on disk; bfloat16 is
    stored as float32, without loss. Otherwise, rows that take at most a quarter of the memory of ``device`` stay there,
    so that selection runs on it. All other rows are stored in main memory. Files are in ``folder`` (None: the system's
    temporary folder) and disappear when the process ends, even after a crash.

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
        """Return the device that stores rows like these."""
        num_bytes = self._bytes(rows)
        stays = num_bytes <= _memory_of(self.device) // 4 and not self._exceeds(num_bytes)
        return self.device if stays else torch.device("cpu")

    def append(self, rows: Summary) -> None:
        """Append the next rows; all tensors have the same number of rows."""
        if self._parts is None:
            self._parts = self._begin(rows)
        for name, values in rows.items():
            self._parts[name].write(self.filled, values)
        self.filled += len(next(iter(rows.values()), ()))

    def finish(self) -> Kept:
        """Return all rows; an empty dict without rows."""
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
    # Allocated at full size, because concatenating pieces at the end would take twice the memory.
    def __init__(self, num_rows: int, like: Tensor, device: torch.device) -> None:
        try:
            self._rows = torch.empty(num_rows, *like.shape[1:], dtype=like.dtype, device=device)
        except torch.OutOfMemoryError:  # other processes may use this GPU
            self._rows = torch.empty(num_rows, *like.shape[1:], dtype=like.dtype)

    def write(self, at: int, values: Tensor) -> None:
        self._rows[at : at + len(values)] = values

    def rows(self) -> Tensor:
        return self._rows


class _OnDisk:
    def __init__(self, num_rows: int, like: Tensor, folder: str | None) -> None:
        dtype = np.dtype(_ON_DISK[like.dtype])
        self._folder = folder or tempfile.gettempdir()
        # TemporaryFile is unlinked when it is created, so a crash leaves no file.
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
            "scoring.disk_folder", "a writable folder with free space", f"{folder} ({error.strerror})"
        ) from error


def _memory_of(device: torch.device) -> int:
    """Return the memory of a CUDA device in bytes; otherwise 0."""
    return torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else 0
