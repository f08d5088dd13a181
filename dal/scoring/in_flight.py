"""Lets the CPU run ahead of a GPU by a few tiles, and checks numbers when the GPU has computed them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from dal.acquisition.search.numbers import Check, checked_later
from dal.errors import NonFiniteError

_MOST_TILES = 2


class InFlight:
    """The tiles of a pass that a device has not finished.

    Without ``checks_later``, or on another device than CUDA, each tile is checked while it is computed. With it, the
    CPU does not wait for a tile until two more tiles are under way. That also bounds the memory of waiting tiles.
    """

    def __init__(self, device: torch.device, checks_later: bool) -> None:
        self._device = device if checks_later and device.type == "cuda" else None
        self._waiting: deque[tuple[int, Any, list[Check]]] = deque()

    @contextmanager
    def tile(self, first_row: int) -> Iterator[None]:
        """Compute a tile in the block, which starts at this row of the pass.

        Raises NonFiniteError, with the row in the pass, for values of this tile or of an earlier one.
        """
        if self._device is None:
            with _row_in_pass(first_row):
                yield
            return
        with _row_in_pass(first_row), checked_later() as checks:
            yield
        copied = [check._replace(found=check.found.to("cpu", non_blocking=True)) for check in checks]
        self._waiting.append((first_row, torch.cuda.current_stream(self._device).record_event(), copied))
        if len(self._waiting) > _MOST_TILES:
            self._settle()

    def finish(self) -> None:
        """Wait for all tiles. Raises as tile() does."""
        while self._waiting:
            self._settle()

    def _settle(self) -> None:
        first_row, computed, checks = self._waiting.popleft()
        computed.synchronize()
        with _row_in_pass(first_row):
            for check in checks:
                check.make()


@contextmanager
def _row_in_pass(first_row: int) -> Iterator[None]:
    try:
        yield
    except NonFiniteError as error:
        raise NonFiniteError(str(error), first_row + (error.row or 0)) from error
