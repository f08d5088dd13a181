"""Rows of numbers: a tensor in memory or a file on disk."""

from __future__ import annotations

import itertools
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence, Sized
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dal.acquisition.search.numbers import block_values, check_finite, in_double, row_blocks
from dal.errors import DalError, bad_content, bad_value

_DTYPES = {np.dtype(np.float16): torch.float16, np.dtype(np.float32): torch.float32, np.dtype(float): torch.float64}
_MOST_BYTES_A_READ = 2**26
_CHECKED_AT_ONCE, _COMPUTED_AT_ONCE = 2**22, 2**18


class DiskRows:
    """The rows (N, D) of a .npy file, read on access.

    The dtype is float16, float32 or float64. Rows are never cached. ``rows[a:b]`` and ``rows[positions]`` index like a
    tensor and return new tensors on the CPU. Rows are read rather than memory-mapped, because mapped pages count toward
    the memory of this process until the system evicts them. Only files in Fortran order or with a foreign byte order
    are mapped.

    Raises DalError if the file is not such an array. The error names ``argument``, the source of the path.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "features.npy"
    >>> np.save(path, np.arange(6, dtype=np.float32).reshape(3, 2))
    >>> rows = DiskRows(path)
    >>> rows.shape, rows[1:3], rows[torch.tensor([2, 0])]
    (torch.Size([3, 2]), tensor([[2., 3.],
            [4., 5.]]), tensor([[4., 5.],
            [0., 1.]]))
    """

    def __init__(self, path: str | Path, argument: str = "path") -> None:
        self._argument = argument
        try:
            self._open(Path(path).open("rb", buffering=0), Path(path).name)  # noqa: SIM115
        except OSError as error:
            raise bad_value(argument, "a .npy file of numbers", f"{Path(path).name} ({error.strerror})") from error

    @classmethod
    def of_file(cls, file: Any) -> DiskRows:
        """Create the rows of an open file, which may be deleted already."""
        self = cls.__new__(cls)
        self._argument = "path"
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
            raise bad_value(self._argument, "a .npy file of numbers", f"{name} (no array in it)") from error
        if len(shape) != 2 or dtype.newbyteorder("=") not in _DTYPES:
            raise _not_a_table(self._argument, dtype, shape)
        self.shape, self._numpy_dtype = torch.Size(shape), dtype
        self.dtype = _DTYPES[dtype.newbyteorder("=")]
        self._start = file.tell()
        self._mapped: ArrayRows | None = None
        if (is_fortran and min(shape) > 1) or not dtype.isnative:
            order: Any = "F" if is_fortran else "C"
            self._mapped = ArrayRows(np.memmap(file, dtype, "r", self._start, shape, order))
        self._row_bytes = dtype.itemsize * shape[1]

    device = torch.device("cpu")
    ndim = 2

    def is_floating_point(self) -> bool:
        """Return True, like a floating-point tensor."""
        return True

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | Tensor) -> Tensor:
        if self._mapped is not None:
            return self._mapped[rows]
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step == 1:
                found = np.empty((max(0, stop - start), self.shape[1]), self._numpy_dtype)
                self._read(found, start)
                return torch.from_numpy(found)
        if isinstance(rows, Tensor) and _are_positions(rows, len(self)):
            places = rows.cpu()
        else:
            # Other indices that a tensor supports: masks, lists, negative positions and steps.
            places = torch.arange(len(self))[rows.cpu() if isinstance(rows, Tensor) else rows]
        if places.ndim != 1:
            raise bad_value("rows", "a slice, a mask or a list of positions", rows)
        order = torch.argsort(places, stable=True)
        wanted = places[order].numpy()
        found = np.empty((len(wanted), self.shape[1]), self._numpy_dtype)
        # Rows that are adjacent on disk are read together.
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
                expected = f"{len(self)} rows, as its header declares"
                raise bad_content(self._argument, expected, f"a shorter file ({self._name})")
            view, at = view[count:], at + count


def _are_positions(places: Tensor, count: int) -> bool:
    if places.dtype != torch.int64 or places.ndim != 1:
        return False
    return not len(places) or (int(places.min()) >= 0 and int(places.max()) < count)


class RowView(ABC):
    """Rows that are computed on access. Subclasses implement ``__getitem__``."""

    ndim = 2

    def __init__(self, num_rows: int, width: int, dtype: torch.dtype, device: torch.device) -> None:
        self.shape, self.dtype, self.device = torch.Size([num_rows, width]), dtype, device

    def is_floating_point(self) -> bool:
        """Return whether the dtype is floating-point, like a tensor."""
        return self.dtype.is_floating_point

    def __len__(self) -> int:
        return self.shape[0]

    @abstractmethod
    def __getitem__(self, rows: slice | Tensor) -> Tensor: ...


class ArrayRows(RowView):
    """The rows (N, D) of a floating-point NumPy array, copied on access.

    The array can be one that a tensor cannot share: read-only, memory-mapped or with a foreign byte order.

    >>> ArrayRows(np.array([[1, 2], [3, 4]], dtype=">f4"))[torch.tensor([1])]
    tensor([[3., 4.]])
    """

    def __init__(self, array: np.ndarray[Any, Any], argument: str = "array") -> None:
        if array.ndim != 2 or not np.issubdtype(array.dtype, np.floating):
            raise _not_a_table(argument, array.dtype, array.shape)
        native = array.dtype.newbyteorder("=")
        self._array, self._numpy_dtype = array, native if native in _DTYPES else np.dtype(float)
        super().__init__(len(array), array.shape[1], _DTYPES[self._numpy_dtype], torch.device("cpu"))

    def __getitem__(self, rows: slice | Tensor) -> Tensor:
        some = self._array[rows.cpu().numpy() if isinstance(rows, Tensor) else rows]
        return torch.from_numpy(np.array(some, self._numpy_dtype, order="C"))


class Chosen(RowView):
    """Some rows of a tensor, without a copy.

    >>> Chosen(torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([2, 0]))[slice(0, 1)]
    tensor([[3.]])
    """

    def __init__(self, rows: Tensor, positions: Tensor) -> None:
        super().__init__(len(positions), rows.shape[1], rows.dtype, rows.device)
        self._rows, self._positions = rows, positions

    def __getitem__(self, rows: slice | Tensor) -> Tensor:
        return self._rows[self._positions[rows]]


class UnitRows(RowView):
    """Rows of tensors on the CPU, one after the other, normalized to length 1 in float64 on access.

    Rows of zeros do not change. The memory layout of the tensors does not change the result.

    >>> UnitRows(torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 0.0]]))[slice(0, 2)]
    tensor([[0.6000, 0.8000],
            [0.0000, 0.0000]], dtype=torch.float64)
    """

    def __init__(self, *parts: Tensor) -> None:
        super().__init__(sum(map(len, parts)), parts[0].shape[1], torch.float64, torch.device("cpu"))
        self._parts = parts

    def __getitem__(self, rows: slice | Tensor) -> Tensor:
        return _unit(self._of(rows))

    def _of(self, rows: slice | Tensor) -> Tensor:
        if len(self._parts) == 1:
            return self._parts[0][rows].double().contiguous()
        places = torch.arange(len(self))[rows]
        found, start = torch.empty(len(places), self.shape[1], dtype=torch.float64), 0
        for part in self._parts:
            here = (places >= start) & (places < start + len(part))
            found[here] = part[places[here] - start].double()
            start += len(part)
        return found


def _unit(points: Tensor) -> Tensor:
    largest = points.abs().amax(dim=1, keepdim=True) if points.numel() else points[:, :1]
    points = points / torch.where(largest > 0, largest, 1)
    lengths = torch.linalg.vector_norm(points, dim=1, keepdim=True)
    return points / torch.where(lengths > 0, lengths, 1)


Rows = Tensor | DiskRows | RowView


def all_rows(rows: Rows) -> Tensor:
    """Return all rows in memory."""
    return rows if isinstance(rows, Tensor) else rows[slice(0, len(rows))]


def check_table(argument: str, rows: Rows, num_points: int | None = None) -> float:
    """Check that rows from a user are floating-point (N, D) and finite.

    N and D must be at least 1, and N must be ``num_points``, the size of the training set, if given. Returns the
    largest absolute value, like check_rows(). Raises DalError or NonFiniteError.
    """
    if rows.ndim != 2 or not rows.shape.numel() or not rows.is_floating_point():
        raise _not_a_table(argument, rows.dtype, rows.shape)
    if num_points is not None:
        check_num_rows(argument, rows, num_points)
    return check_rows(argument, rows)


def check_num_rows(argument: str, rows: Sized, num_points: int) -> None:
    """Raise DalError unless there is one row per training image."""
    if len(rows) != num_points:
        raise bad_value(argument, f"one row for each of the {num_points} points of the training set", len(rows))


def _not_a_table(argument: str, dtype: object, shape: Sequence[int]) -> DalError:
    got = f"{str(dtype).removeprefix('torch.')} of shape {tuple(shape)}"
    return bad_value(argument, "floating-point numbers of shape (N, D)", got)


def check_rows(argument: str, rows: Rows, first_row: int = 0, num_rows: int | None = None) -> float:
    """Return the largest absolute value, or 0 if there are no values.

    Raises NonFiniteError for values that are not finite and names the first such row. If the rows are a block of more
    rows, pass ``first_row`` and ``num_rows``.

    >>> check_rows("features", torch.tensor([[1.0, -3.0], [2.0, 0.0]]))
    3.0
    """
    most = block_values(rows.shape.numel(), _COMPUTED_AT_ONCE) if isinstance(rows, RowView) else _CHECKED_AT_ONCE
    largest = 0.0
    for block in row_blocks(len(rows), rows.shape[1], most):
        values = rows[block]
        if values.numel():
            # The extremes are finite only if all values are. Checking them first avoids a mask.
            extremes = in_double(torch.stack(torch.aminmax(values)))
            if not bool(torch.isfinite(extremes).all()):
                check_finite(argument, values, first_row + block.start, num_rows or len(rows))
            largest = max(largest, float(extremes.abs().max()))
    return largest


def scaled(x: Tensor, scale: float) -> Tensor:
    """Multiply by a power of two, in float32 if possible.

    The result is float64 for float64 values and for powers near the limits of float32's range.
    """
    if x.dtype == torch.float64 or not 2.0**-100 <= scale <= 2.0**100:
        return in_double(x) * scale
    return x.float() * scale if scale != 1 else x.float()


def ready(rows: Rows) -> Rows:
    """Detach rows; move them to the CPU from devices without float64."""
    if not isinstance(rows, Tensor):
        return rows
    return rows.detach().cpu() if rows.device.type == "mps" else rows.detach()


def distinct(rows: Tensor) -> Tensor:
    """Return an (M,) bool mask that excludes repeated rows.

    A row is compared only with its predecessor in the order of a random projection. A repeated row stays if a different
    row with the same projection comes between.

    >>> distinct(torch.tensor([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]]))
    tensor([ True,  True, False])
    """
    count = len(rows)
    keep = torch.ones(count, dtype=torch.bool, device=rows.device)
    if count < 2:
        return keep
    weights = torch.rand(rows.shape[1], generator=torch.Generator().manual_seed(0), dtype=torch.float32).to(rows.device)
    marks = torch.cat([(rows[block].float() * weights).sum(dim=1) for block in row_blocks(*rows.shape)])
    marks, order = torch.sort(marks, stable=True)
    places = (marks[1:] == marks[:-1]).nonzero()[:, 0]
    for block in row_blocks(len(places), rows.shape[1]):
        first, second = order[places[block]], order[places[block] + 1]
        keep[second] = (rows[first] != rows[second]).any(dim=1)
    return keep
