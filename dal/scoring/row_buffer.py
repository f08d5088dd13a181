"""Buffers the rows of a pass between the device and the store."""

from __future__ import annotations

import torch

from dal.acquisition.base import Summary
from dal.acquisition.search.numbers import check_finite
from dal.scoring.row_store import Kept, RowStore

_PENDING_BYTES = 64 * 2**20


class RowBuffer:
    """Collects the rows of successive tiles and writes them to a store.

    The buffer does not synchronize with the GPU at every tile. Rows are copied to pinned memory asynchronously, or stay
    on the device if the store is there, and are checked every 64 MiB. NaN or infinity raises NonFiniteError with the
    number of the row in the pass, in finish() at the latest.

    >>> rows = RowBuffer(RowStore(3))
    >>> rows.append({"scores": torch.zeros(2, 1)})
    >>> rows.append({"scores": torch.ones(1, 1)})
    >>> rows.finish()["scores"].tolist()
    [[0.0], [0.0], [1.0]]
    """

    def __init__(self, store: RowStore) -> None:
        self._store = store
        self._pending: list[Summary] = []
        self._pending_bytes = 0
        self._device: torch.device | None = None

    def append(self, rows: Summary) -> None:
        """Add the rows of the next points, from any device."""
        if self._store.where(rows) == torch.device("cpu"):
            # From a non-CUDA device, an asynchronous copy could be read before it is complete.
            cuda = next((part.device for part in rows.values() if part.is_cuda), None)
            self._device = cuda or self._device
            rows = {name: part.to("cpu", non_blocking=part.is_cuda) for name, part in rows.items()}
        self._pending.append(rows)
        self._pending_bytes += sum(part.nbytes for part in rows.values())
        if self._pending_bytes >= _PENDING_BYTES:
            self._flush()

    def finish(self) -> Kept:
        """Return all rows in order; an empty dict without rows."""
        self._flush()
        return self._store.finish()

    def _flush(self) -> None:
        if self._device is not None:
            torch.cuda.current_stream(self._device).synchronize()
        names = list(self._pending[0]) if self._pending else []
        chunk = {name: torch.cat([rows[name] for rows in self._pending]) for name in names}
        self._pending, self._pending_bytes = [], 0
        if chunk:
            for part in chunk.values():
                check_finite("summary", part, self._store.filled)
            self._store.append(chunk)
