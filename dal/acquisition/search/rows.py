"""Rows of numbers, one a point: in memory as a tensor, or on disk, from where they are read a block at a time."""

from __future__ import annotations

import itertools
import math
import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dal.acquisition.search.numbers import check_finite, in_double, row_blocks
from dal.errors import bad_value

_DTYPES = {np.dtype(np.float16): torch.float16, np.dtype(np.float32): torch.float32, np.dtype(float): torch.float64}
_MOST_BYTES_A_READ = 2**26
_CHECKED_AT_ONCE = 2**22


class DiskRows:
    """The rows (N, D) of a .npy file of float16, float32 or float64, read when they are asked for and never held.

    ``rows[a:b]`` and ``rows[positions]`` are what a tensor gives, as new tensors on the CPU. Plain reads instead of a
    memory map: mapped pages would count as this process's memory for as long as the system likes.

    Raises DalError where the file is not such an array.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "features.npy"
    >>> np.save(path, np.arange(6, dtype=np.float32).reshape(3, 2))
    >>> rows = DiskRows(path)
    >>> rows.shape, rows[1:3], rows[torch.tensor([2, 0])]
    (torch.Size([3, 2]), tensor([[2., 3.],
            [4., 5.]]), tensor([[4., 5.],
            [0., 1.]]))
    """

    def __init__(self, path: str | Path) -> None:
        try:
            self._open(Path(path).open("rb", buffering=0), Path(path).name)  # noqa: SIM115
        except OSError as error:
            raise bad_value("path", "a .npy file of numbers", f"{Path(path).name} ({error.strerror})") from error

    @classmethod
    def of_file(cls, file: Any) -> DiskRows:
        """Of an open file, whose name need not exist any more."""
        self = cls.__new__(cls)
        self._open(file, str(file.name))
        return self

    def _open(self, file: Any, name: str) -> None:
        self._file, self._name = file, name
        try:
            file.seek(0)
            version = np.lib.format.read_magic(file)
            read_head = (
                np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            )
            shape, is_fortran, dtype = read_head(file)
        except ValueError as error:
            raise bad_value("path", "a .npy file of numbers", f"{name} ({error})") from error
        if len(shape) != 2 or dtype not in _DTYPES or (is_fortran and min(shape) > 1):
            expected = "a (N, D) array of float16, float32 or float64 in C order"
            raise bad_value("path", expected, f"{dtype} {shape} in {name}")
        self.shape, self._numpy_dtype = torch.Size(shape), dtype
        self.dtype = _DTYPES[dtype]
        self._start = file.tell()
        self._row_bytes = dtype.itemsize * shape[1]

    device = torch.device("cpu")
    ndim = 2

    def is_floating_point(self) -> bool:
        """As a tensor's."""
        return True

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | Tensor) -> Tensor:
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step == 1:
                found = np.empty((max(0, stop - start), self.shape[1]), self._numpy_dtype)
                self._read(found, start)
                return torch.from_numpy(found)
        if isinstance(rows, Tensor) and _are_positions(rows, len(self)):
            places = rows.cpu()
        else:
            # All that a tensor understands beside them: masks, lists, positions from the end, steps.
            places = torch.arange(len(self))[rows.cpu() if isinstance(rows, Tensor) else rows]
        if places.ndim != 1:
            raise bad_value("rows", "a slice, a mask or a list of positions", rows)
        order = torch.argsort(places, stable=True)
        wanted = places[order].numpy()
        found = np.empty((len(wanted), self.shape[1]), self._numpy_dtype)
        # Neighbors on disk are read at once.
        breaks = np.flatnonzero(np.diff(wanted) != 1) + 1
        ends = [0, *breaks.tolist(), len(wanted)]
        for first, last in itertools.pairwise(ends):
            if last > first:
                self._read(found[first:last], int(wanted[first]))
        result = torch.empty_like(torch.from_numpy(found))
        result[order] = torch.from_numpy(found)
        return result

    def _read(self, target: np.ndarray[Any, Any], first_row: int) -> None:
        view = memoryview(target.reshape(-1).view(np.uint8).data)
        at = self._start + first_row * self._row_bytes
        while len(view):
            count = os.preadv(self._file.fileno(), [view[:_MOST_BYTES_A_READ]], at)
            if count == 0:
                raise bad_value("path", f"{len(self)} rows, as its head says", f"a shorter file ({self._name})")
            view, at = view[count:], at + count


def _are_positions(places: Tensor, count: int) -> bool:
    if places.dtype != torch.int64 or places.ndim != 1:
        return False
    return not len(places) or (int(places.min()) >= 0 and int(places.max()) < count)


class RowView(ABC):
    """Rows that are computed from others when they are read. Subclasses say how in ``rows()``."""

    ndim = 2

    def __init__(self, num_rows: int, width: int, dtype: torch.dtype, device: torch.device) -> None:
        self.shape, self.dtype, self.device = torch.Size([num_rows, width]), dtype, device

    def is_floating_point(self) -> bool:
        """As a tensor's."""
        return self.dtype.is_floating_point

    def __len__(self) -> int:
        return self.shape[0]

    @abstractmethod
    def __getitem__(self, rows: slice | Tensor) -> Tensor: ...


Rows = Tensor | DiskRows | RowView


def all_rows(rows: Rows) -> Tensor:
    """The rows in memory."""
    return rows if isinstance(rows, Tensor) else rows[slice(0, len(rows))]


def check_rows(argument: str, rows: Rows, first_row: int = 0, num_rows: int | None = None) -> float:
    """The largest absolute value, 0 if there is none. Raises NonFiniteError, naming the first row that is not finite.

    ``first_row`` and ``num_rows`` are for rows that are a part of more.

    >>> check_rows("features", torch.tensor([[1.0, -3.0], [2.0, 0.0]]))
    3.0
    """
    largest = 0.0
    for block in row_blocks(len(rows), rows.shape[1], _CHECKED_AT_ONCE):
        values = rows[block]
        if values.numel():
            # The extremes tell first: a mask is not made unless there is something to name.
            extremes = in_double(torch.stack(torch.aminmax(values)))
            if not bool(torch.isfinite(extremes).all()):
                check_finite(argument, values, first_row + block.start, num_rows or len(rows))
            largest = max(largest, float(extremes.abs().max()))
    return largest


def safe_scale(largest: float, most: float = 2.0**30) -> float:
    """A power of two by which float32 can multiply and then square numbers of this size: 1 where it can already.

    ``most`` is the largest number that is left as it is.

    >>> safe_scale(3.0), safe_scale(3.0, most=1.0), safe_scale(2.0**100)
    (1.0, 0.25, 3.944304526105059e-31)
    """
    if largest == 0 or 2.0**-30 <= largest <= most:
        return 1.0
    return math.ldexp(1.0, -max(-1000, min(1000, math.frexp(largest)[1])))


def scaled(x: Tensor, scale: float) -> Tensor:
    """``x`` times a power of two in float32, or in float64 where float32 has not that power."""
    if x.dtype == torch.float64 or not 2.0**-100 <= scale <= 2.0**100:
        return in_double(x) * scale
    return x.float() * scale if scale != 1 else x.float()


def ready(rows: Rows) -> Rows:
    """The rows without their gradients, on the CPU if their device has no float64, as Apple's."""
    if not isinstance(rows, Tensor):
        return rows
    return rows.detach().cpu() if rows.device.type == "mps" else rows.detach()


def distinct(rows: Tensor) -> Tensor:
    """(M,) bool: all rows but those that equal one before, as far as a projection tells which to compare.

    >>> distinct(torch.tensor([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]]))
    tensor([ True,  True, False])
    """
    count = len(rows)
    keep = torch.ones(count, dtype=torch.bool, device=rows.device)
    if count < 2:
        return keep
    weights = torch.rand(rows.shape[1], generator=torch.Generator().manual_seed(0), dtype=torch.float32).to(rows.device)
    marks = torch.cat([(rows[block].float() * weights).sum(dim=1) for block in row_blocks(*rows.shape)])
    order = torch.sort(marks, stable=True).indices
    for block in row_blocks(count - 1, rows.shape[1]):
        first, second = order[:-1][block], order[1:][block]
        keep[second] = (marks[first] != marks[second]) | (rows[first] != rows[second]).any(dim=1)
    return keep
