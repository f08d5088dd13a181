"""Reading ahead: the next tiles are decoded, and copied to the device, while the current one is computed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")

_LOOK_SECONDS = 0.1  # how often a thread that waits for room looks whether it is still wanted


@contextmanager
def prefetched(items: Iterable[T], depth: int = 2) -> Iterator[Iterator[T]]:
    """The items in their order, made by a thread that is at most ``depth`` items ahead.

    An exception while making them comes out where the next item is taken. On leaving, whatever the reason, the thread
    has ended.

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
                # A tile that waits here would be one more than asked for.
                del item
                if unwanted.is_set():
                    return
            put((None, None, True))
        except BaseException as error:  # noqa: BLE001  it is raised again in the other thread
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
    """A tile on its way to the device, and how many of its rows are points'."""

    images: Tensor
    valid: int
    copied: Any = None  # the CUDA event that its copy ends with

    def arrived(self) -> Tensor:
        """The images, for use on the current stream."""
        if self.copied is not None:
            stream = torch.cuda.current_stream(self.images.device)
            stream.wait_event(self.copied)
            # The memory belongs to the stream that copied, which would use it again while this one still reads.
            self.images.record_stream(stream)
        return self.images


def to_device(tiles: Iterable[tuple[Tensor, int]], device: torch.device) -> Iterator[Tile]:
    """Tiles on the device. On CUDA they are copied from pinned memory on a stream of their own."""
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
