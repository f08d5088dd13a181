"""Measures peak memory, and detects out-of-memory errors."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_SAID_SO = ("DefaultCPUAllocator", "can't allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED")


def out_of_memory(error: BaseException) -> bool:
    """Return whether an exception reports lack of GPU or host memory.

    >>> out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 64 bytes."))
    True
    """
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _SAID_SO)


def release_cached() -> None:
    """Release the memory that PyTorch's allocators cache.

    Call it outside the ``except`` block, because the traceback there keeps the tensors of every frame alive.
    """
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of live storages that operations allocate inside the block.

    The count is the same on every device and machine, unlike the numbers of an allocator. It excludes workspaces inside
    kernels.

    >>> with LiveBytes() as live:
    ...     total = torch.zeros(1000).add(1).sum()
    >>> live.peak
    8000
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak: int = 0
        self._now = 0
        self._known: dict[int, weakref.finalize[Any, Any]] = {}

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        before = {_storage(x)._cdata for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)}
        result = func(*args, **(kwargs or {}))
        for x in tree_leaves(result):
            if isinstance(x, Tensor) and _storage(x)._cdata not in before:
                self._count(_storage(x))
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return
        self._known[key] = weakref.finalize(storage, self._forget, key, size)
        self._now += size
        self.peak = max(self.peak, self._now)

    def _forget(self, key: int, size: int) -> None:
        self._known.pop(key, None)
        self._now -= size


def _storage(x: Tensor) -> torch.UntypedStorage:
    return x.untyped_storage()
