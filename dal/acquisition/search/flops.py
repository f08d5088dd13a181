"""FLOPs of a selection: its products and distances.

The code that computes them also counts them, from the shapes. A counter that intercepts every operation would slow down
a selection, which consists of thousands of small operations. For each pair of points and each number of a point, an
inner product counts 2 FLOPs and a distance by differences counts 3. A distance of gradients counts 6, and 10 more if it
is computed without cancellation. Sorting, sums and random numbers are not counted. The rounding of products determines
which distances are computed exactly, so the count can differ slightly between machines.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass
class Work:
    """The FLOPs counted inside a block."""

    flops: int = 0


_current: ContextVar[Work | None] = ContextVar("dal_selection_work", default=None)


@contextmanager
def counted_work() -> Iterator[Work]:
    """Count the FLOPs of the block.

    The count of a nested block is separate and is not part of the outer count.

    >>> with counted_work() as work:
    ...     add_flops(3)
    >>> add_flops(5)
    >>> work
    Work(flops=3)
    """
    work = Work()
    token = _current.set(work)
    try:
        yield work
    finally:
        _current.reset(token)


def add_flops(flops: int) -> None:
    """Add to the current count, if any."""
    work = _current.get()
    if work is not None:
        work.flops += flops
