"""Loaders for a shuffled training stream and for an ordered plain pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from dal.data.images import ImageData
from dal.data.targets import Targets, targets_of
from dal.runtime.seeding import generator

Key = tuple[int, int]
"""A position in the stream and the index of the point there."""


class TrainingStream(Sampler[list[Key]]):
    """Yields equal batches from consecutive shuffled passes over the labeled points.

    No batch is dropped or smaller than the others. A labeled set smaller than a batch is one batch. An iteration has at
    least one pass and at least ``min_batches`` batches. Training divides it into epochs of one pass. With several
    devices, each device gets its share of every batch.
    """

    def __init__(
        self,
        indices: Sequence[int],
        batch_size: int,
        seed: int,
        round: int,
        min_batches: int = 1,
        rank: int = 0,
        num_ranks: int = 1,
    ) -> None:
        self.indices = list(indices)
        # BatchNorm cannot train on a single row.
        self.batch_size = max(2, num_ranks, min(batch_size, len(self.indices)))
        self.seed, self.round = seed, round
        self.num_batches = max(min_batches, -(-len(self.indices) // self.batch_size))
        self.rank, self.num_ranks = rank, num_ranks
        self._epoch = 0
        self._pass, self._order = -1, list[int]()

    def __len__(self) -> int:
        return self.num_batches

    def __iter__(self) -> Iterator[list[Key]]:
        first = self._epoch * self.num_batches * self.batch_size
        self._epoch += 1
        for start in range(first, first + self.num_batches * self.batch_size, self.batch_size):
            yield self._batch(start)[self.rank :: self.num_ranks]

    def _batch(self, start: int) -> list[Key]:
        keys: list[Key] = []
        while len(keys) < self.batch_size:
            number, place = divmod(start + len(keys), len(self.indices))
            part = self._shuffled(number)[place : place + self.batch_size - len(keys)]
            keys += zip(range(start + len(keys), start + self.batch_size), part)  # noqa: B905  the part may be shorter
        return keys

    def _shuffled(self, number: int) -> list[int]:
        """Return the points in the order of a pass."""
        if self._pass != number:
            g = generator(self.seed, self.round, "shuffle", number)
            order = torch.randperm(len(self.indices), generator=g)
            self._pass, self._order = number, [self.indices[place] for place in order.tolist()]
        return self._order


class TrainingView(Dataset[Any]):
    """Augmented images and their purchased labels or masks.

    The augmentation of a batch depends only on the seed, the round, and the position in the stream. Therefore, it does
    not depend on the number of workers.
    """

    def __init__(self, data: ImageData, indices: Tensor, labels: Tensor, seed: int, round: int) -> None:
        self.targets, self.seed, self.round = targets_of(data, indices, labels), seed, round
        self._is_augmented = data.augmentation is not None or data.augmented_source is not None

    def __len__(self) -> int:
        return len(self.targets.images)

    def __getitems__(self, keys: list[Key]) -> tuple[Tensor, Tensor]:
        indices = [index for _, index in keys]
        if not self._is_augmented:
            return self.targets.plain(indices)
        g = generator(self.seed, self.round, "augment", keys[0][0])
        return self.targets.augmented(indices, g)


class PlainView(Dataset[Any]):
    """Plain images for scoring and testing, with targets if given, or the images of the source."""

    def __init__(self, data: ImageData, targets: Targets | None = None, of_source: bool = False) -> None:
        self.data, self.targets, self.of_source = data, targets, of_source

    def __len__(self) -> int:
        return len(self.data)

    def __getitems__(self, indices: list[int]) -> Any:
        if self.of_source:
            return self.data.source.batch(indices)
        return self.data.plain(indices) if self.targets is None else self.targets.plain(indices)


def plain_batches(
    data: ImageData,
    indices: Tensor,
    batch_size: int,
    num_workers: int = 0,
    labels: Tensor | None = None,
    form: Callable[[Tensor, Tensor], Any] | None = None,
    pin_memory: bool = False,
    of_source: bool = False,
) -> DataLoader[Any]:
    """Return a loader of plain images in the order of ``indices``.

    With the ``labels`` of these points, it yields (images, labels), or the result of ``form(images, labels)`` if
    ``form`` is given. Set ``pin_memory`` only if the images go to a CUDA device, because pinning starts CUDA. With
    ``of_source``, the images are those of the source, which ``data.normalized()`` completes.
    """
    targets = None if labels is None else targets_of(data, indices, labels)
    images = indices if targets is None else targets.images
    batches = [chunk.tolist() for chunk in torch.split(images, batch_size)]
    return DataLoader(
        PlainView(data, targets, of_source),
        batch_sampler=batches,
        num_workers=num_workers,
        collate_fn=_Collate(form),
        pin_memory=pin_memory,
    )


def validation_batch_size(batch_size: int) -> int:
    """Return the images per batch of validation, which keeps no gradients, for a ``batch_size`` of training."""
    return max(batch_size, 256)


class _Collate:
    """Converts (images, labels) to the batch form of a module, if given."""

    def __init__(self, form: Callable[[Tensor, Tensor], Any] | None) -> None:
        self.form = form

    def __call__(self, batch: Any) -> Any:
        return batch if self.form is None else self.form(*batch)


class RoundData(pl.LightningDataModule):
    """The training and validation loaders of a round."""

    def __init__(
        self,
        data: ImageData,
        labeled: tuple[Tensor, Tensor],
        validation: tuple[Tensor, Tensor] | None,
        *,
        batch_size: int,
        min_batches: int,
        seed: int,
        round: int,
        num_workers: int = 0,
        form: Callable[[Tensor, Tensor], Any] | None = None,
    ) -> None:
        super().__init__()
        # Private names leave the others to the datamodule of the user.
        self._form = form
        self._data, self._labeled, self._validation = data, labeled, validation
        self.batch_size, self._min_batches, self.num_workers = batch_size, min_batches, num_workers
        self._seed, self._round = seed, round

    def train_dataloader(self) -> DataLoader[Any]:
        trainer, view = self.trainer, TrainingView(self._data, *self._labeled, self._seed, self._round)
        stream = TrainingStream(
            view.targets.images.tolist(),
            self.batch_size,
            self._seed,
            self._round,
            self._min_batches,
            rank=trainer.global_rank if trainer else 0,
            num_ranks=trainer.world_size if trainer else 1,
        )
        return DataLoader(
            view,
            batch_sampler=stream,
            num_workers=self.num_workers,
            collate_fn=_Collate(self._form),
            pin_memory=self._pins_memory(),
        )

    def val_dataloader(self) -> Any:
        if self._validation is None:
            return []
        indices, labels = self._validation
        size = validation_batch_size(self.batch_size)
        return plain_batches(self._data, indices, size, self.num_workers, labels, self._form, self._pins_memory())

    def _pins_memory(self) -> bool:
        return self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"
