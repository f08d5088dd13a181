"""FLOPs of a selection: its products and distances.

They are counted where they are computed, by the shapes, as a counter that looks at every operation would slow down
selections that are thousands of small ones. A number of a pair costs 2 in a product, 3 in a distance by differences;
in a distance of gradients 6, and 10 more where it is computed without cancellation. Sorting, sums and random numbers
are not counted. Which distances are computed in full depends on the rounding of products: from machine to machine the
count may differ by a little.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass
class Work:
    """What was counted inside the block."""

    flops: int = 0


_current: ContextVar[Work | None] = ContextVar("dal_selection_work", default=None)


@contextmanager
def counted_work() -> Iterator[Work]:
    """Count inside. A block inside another has a count of its own.

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
    """Count these, where somebody counts."""
    work = _current.get()
    if work is not None:
        work.flops += flops
