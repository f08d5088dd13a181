"""Checks and conversions of numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import torch
from torch import Tensor

from dal.errors import NonFiniteError, bad_value

MOST_POINTS = 10**9
"""Largest number of points that a setting can name."""

MOST = 10**6
"""Largest whole number that a setting can be, unless its check says another one."""


def check_whole(argument: str, value: object, least: int = 1, why: str = "", most: int = MOST) -> None:
    """Raise DalError unless ``value`` is a whole number from ``least`` to ``most``.

    ``why`` explains the lower bound in the error.

    >>> check_whole("num_draws", 1, 2, "one draw cannot disagree")
    Traceback (most recent call last):
    dal.errors.DalError: num_draws: expected a whole number of at least 2 (one draw cannot disagree), got 1.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise bad_value(argument, f"a whole number of at least {least}{f' ({why})' if why else ''}", value)
    if value > most:
        raise bad_value(argument, f"a whole number of at most {most}", value)


def check_finite(what: str, values: Tensor, first_row: int = 0, num_rows: int | None = None) -> None:
    """Raise NonFiniteError if any value is NaN or infinite.

    The error names the first such row. If the values are a block of more rows, pass ``first_row`` and ``num_rows``.
    """
    later = _later.get()
    if later is not None and values.is_cuda and values.numel():
        later.append(Check(what, _first_bad(values), first_row, num_rows or len(values)))
        return
    # A sum is finite only if all values are. Checking it first avoids a mask of a large pool. It can also overflow.
    if values.numel() == 0 or math.isfinite(values.detach().sum()):
        return
    finite = torch.isfinite(values)
    if not bool(finite.all()):
        row = int((~finite).reshape(len(values), -1).any(dim=1).nonzero()[0])
        bad = values[row][~finite[row]].flatten()[0].item() if values.ndim > 1 else values[row].item()
        raise _not_finite(what, bad, first_row + row, num_rows or len(values))


class Check(NamedTuple):
    """A check that is still to be made."""

    what: str
    found: Tensor
    """(3,) float64: whether a value is not finite, its row, and the first such value there."""
    first_row: int
    num_rows: int

    def make(self) -> None:
        """Raise the error of check_finite(). ``found`` must be on the CPU."""
        is_bad, row, value = self.found.tolist()
        if is_bad:
            raise _not_finite(self.what, value, self.first_row + int(row), self.num_rows)


_later: ContextVar[list[Check] | None] = ContextVar("checks to be made later", default=None)


@contextmanager
def checked_later() -> Iterator[list[Check]]:
    """Collect the checks of values on a GPU, instead of waiting for these values."""
    checks = list[Check]()
    token = _later.set(checks)
    try:
        yield checks
    finally:
        _later.reset(token)


def _first_bad(values: Tensor) -> Tensor:
    rows = values.reshape(len(values), -1)
    is_bad = ~torch.isfinite(rows)
    in_row = is_bad.any(dim=1)
    # The first of several largest values. Indices are tensors of one element, because a number would be read back.
    row = in_row.byte().argmax(dim=0, keepdim=True)
    column = is_bad.index_select(0, row)[0].byte().argmax(dim=0, keepdim=True)
    value = rows.index_select(0, row)[0].index_select(0, column)
    return torch.cat([in_row.any(dim=0, keepdim=True).double(), row.double(), value.double()])


def _not_finite(what: str, value: float, row: int, num_rows: int) -> NonFiniteError:
    return NonFiniteError(f"{what}: expected finite numbers, got {value} at row {row} of {num_rows}.", row)


def in_double(x: Tensor) -> Tensor:
    """Convert to float64, or to float32 on devices without float64 (Apple)."""
    return x.float() if x.device.type == "mps" else x.double()


def normalized_log_probs(argument: str, logits: Tensor) -> Tensor:
    """Normalize logits to float64 log-probabilities in nats.

    Log-probabilities are already normalized logits and do not change, so a function that calls this accepts both. -inf
    is a probability of 0.

    Args:
        argument: name of ``logits`` in errors.
        logits: (..., C), any floating dtype.

    Returns:
        (..., C) float64, normalized over the last dimension.

    Raises:
        NonFiniteError: a row holds NaN or +inf, or only -inf.

    >>> normalized_log_probs("logits", torch.tensor([[0.0, 0.0], [0.0, -torch.inf]])).exp().tolist()
    [[0.5, 0.5], [1.0, 0.0]]
    """
    log_probs = in_double(logits).log_softmax(dim=-1)
    # Checks the largest of each row, because a log-probability of -inf is valid.
    check_finite(argument, log_probs.amax(dim=-1, keepdim=True) if log_probs.numel() else log_probs)
    return log_probs


def row_blocks(num_rows: int, width: int, most_values: int = 2**20) -> Iterator[slice]:
    """Yield slices that cover ``num_rows`` rows of ``width`` values.

    Each slice has at most ``most_values`` values, or one row if a row has more.

    >>> list(row_blocks(5, 10, most_values=20))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    step = max(1, most_values // max(1, width))
    for start in range(0, num_rows, step):
        yield slice(start, min(start + step, num_rows))


def block_values(num_values: int, most: int) -> int:
    """Return the values of a block: ``most``, or a sixteenth of what a small array has, because blocks need memory.

    >>> block_values(2**30, 2**20), block_values(2**20, 2**20), block_values(100, 2**20)
    (1048576, 65536, 16384)
    """
    return max(2**14, min(most, num_values // 16))


def safe_scale(largest: float, most: float = 2.0**30) -> float:
    """Return a power of two that lets float32 square numbers safely.

    It is 1 if they need no scaling. Multiplying by a power of two is exact, so the order of distances does not change.

    Args:
        largest: the largest absolute value of the numbers.
        most: the largest value that needs no scaling.

    >>> safe_scale(3.0), safe_scale(3.0, most=1.0), safe_scale(2.0**100)
    (1.0, 0.25, 3.944304526105059e-31)
    """
    if largest == 0 or 2.0**-30 <= largest <= most:
        return 1.0
    return math.ldexp(1.0, -max(-1000, min(1000, math.frexp(largest)[1])))
