"""Prefetches the next tiles while the current one is computed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")

_LOOK_SECONDS = 0.1  # interval at which a thread that waits for a free slot checks whether to stop


@contextmanager
def prefetched(items: Iterable[T], depth: int = 2) -> Iterator[Iterator[T]]:
    """Iterate over items that a thread produces at most ``depth`` items ahead.

    An exception in the thread is raised when the next item is taken. The thread has ended when the context exits.

    >>> with prefetched(range(3)) as ahead:
    ...     list(ahead)
    [0, 1, 2]
    """
    made: Queue[tuple[T | None, BaseException | None, bool]] = Queue(maxsize=depth)
    unwanted = Event()

    def put(entry: tuple[T | None, BaseException | None, bool]) -> None:
        while not unwanted.is_set():
            with suppress(Full):
                made.put(entry, timeout=_LOOK_SECONDS)
                return

    def make() -> None:
        try:
            for item in items:
                put((item, None, False))
                # A reference here would keep one more tile in memory.
                del item
                if unwanted.is_set():
                    return
            put((None, None, True))
        except BaseException as error:  # noqa: BLE001  re-raised in the consuming thread
            put((None, error, True))

    def take() -> Iterator[T]:
        while True:
            item, error, done = made.get()
            if error is not None:
                raise error
            if done:
                return
            yield item  # type: ignore[misc]

    thread = Thread(target=make, name="dal-read-ahead", daemon=True)
    thread.start()
    try:
        yield take()
    finally:
        unwanted.set()
        try:
            while True:
                made.get_nowait()
        except Empty:
            thread.join()


class Tile(NamedTuple):
    """A tile on the device and its number of valid rows."""

    images: Tensor
    valid: int
    copied: Any = None  # the CUDA event at the end of the copy

    def arrived(self) -> Tensor:
        """Return the images, ready for use on the current stream."""
        if self.copied is not None:
            stream = torch.cuda.current_stream(self.images.device)
            stream.wait_event(self.copied)
            # The memory belongs to the copying stream, which could reuse it before this stream has read it.
            self.images.record_stream(stream)
        return self.images


def to_device(tiles: Iterable[tuple[Tensor, int]], device: torch.device) -> Iterator[Tile]:
    """Copy tiles to the device.

    On CUDA, copies run from pinned memory on a separate stream.
    """
    if device.type != "cuda":
        for images, count in tiles:
            yield Tile(images.to(device), count)
        return
    stream: Any = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    for images, count in tiles:
        pinned = images if images.is_pinned() else images.pin_memory()
        with torch.cuda.stream(stream):
            moved = pinned.to(device, non_blocking=True)
            copied = stream.record_event()
        yield Tile(moved, count, copied)
