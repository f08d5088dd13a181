"""Divides a round into epochs of one pass over the labeled points."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader

from dal.data.loaders import RoundData
from dal.training.trainer.given_datamodule import ShowsGiven


def batches_per_epoch(num_labels: int, batch_size: int, accumulate: int = 1) -> int:
    """Return the number of batches per epoch.

    An epoch is one pass over the labeled points, rounded up to whole updates.

    >>> batches_per_epoch(40, 16), batches_per_epoch(40, 16, accumulate=2), batches_per_epoch(5, 16)
    (3, 4, 1)
    """
    # TrainingStream repeats a single point, because BatchNorm needs two rows.
    batches = math.ceil(num_labels / max(2, min(batch_size, num_labels)))
    return math.ceil(batches / accumulate) * accumulate


class EpochLoader:
    """Iterates over consecutive parts of the stream of another loader.

    Epochs share the workers and prefetched batches of the stream, so short epochs are cheap. Other attributes are those
    of the loader.

    >>> loader = EpochLoader([1, 2, 3], 2)
    >>> list(loader), list(loader), len(loader)
    ([1, 2], [3, 1], 2)
    """

    def __init__(self, loader: Any, num_batches: int) -> None:
        self.loader, self.num_batches = loader, num_batches
        self._stream: Iterator[Any] | None = None

    def __len__(self) -> int:
        return self.num_batches

    def __iter__(self) -> Iterator[Any]:
        # Create the iterator now instead of at the first batch, because it draws from the global generator.
        if self._stream is None:
            self._stream = _stream(self.loader)
        return self._epoch()

    def __getattr__(self, name: str) -> Any:
        if name == "loader":  # a copy asks before the attribute exists
            raise AttributeError(name)
        return getattr(self.loader, name)

    def close(self) -> None:
        """End the stream and its workers."""
        self._stream = None

    def _epoch(self) -> Iterator[Any]:
        for _ in range(self.num_batches):
            assert self._stream is not None
            try:
                batch = next(self._stream)
            except StopIteration:
                self._stream = _stream(self.loader)
                batch = next(self._stream)
            yield batch


def _stream(loader: Any) -> Iterator[Any]:
    """Return an iterator over the batches of a loader."""
    stream: Iterator[Any] = iter(loader)
    reads_here = isinstance(loader, DataLoader) and not (loader.num_workers or loader.pin_memory)
    return _read(loader) if reads_here else stream


def _read(loader: Any) -> Iterator[Any]:
    # The iterator of a DataLoader takes longer per batch than reading features does.
    for keys in loader.batch_sampler:
        yield loader.collate_fn(loader.dataset.__getitems__(keys))


class EpochData(ShowsGiven, RoundData):
    """The loaders of a round, with training epochs of ``epoch_length`` batches."""

    epoch_length = 1
    _loaders: tuple[EpochLoader, ...] = ()

    def train_dataloader(self) -> Any:
        # A module may ask for a loader while another one trains it.
        loader = EpochLoader(super().train_dataloader(), self.epoch_length)
        self._loaders = (*self._loaders, loader)
        return loader

    def close(self) -> None:
        """End the streams and their workers."""
        for loader in self._loaders:
            loader.close()
        self._loaders = ()
