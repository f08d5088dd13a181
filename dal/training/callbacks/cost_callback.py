"""Counts the images and FLOPs of training."""

from __future__ import annotations

from collections.abc import Hashable
from types import TracebackType
from typing import Any, Self
from weakref import WeakKeyDictionary

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn import Parameter
from torch.utils._pytree import tree_leaves

from dal.costs.flops import Flops, OpenCounter
from dal.costs.ledger import Ledger
from dal.models.own import is_own

_known: WeakKeyDictionary[pl.LightningModule, dict[Hashable, Flops]] = WeakKeyDictionary()


class TrainingCounter(pl.Callback):
    """Charges images and FLOPs of training and validation on all devices.

    The counter covers training_step and a user's validation_step. The FLOPs of a batch are counted once per batch shape
    and set of trainable parameters, and reused for later batches of that kind. Counting slows down that one batch and
    does not change training. It covers all work in a batch, for any optimizers and gradient accumulation. Batches of
    one shape that do different work, as in GAN training with unequal steps, are charged like the first of them.

    The counter must be the first callback, so that the work of other callbacks at the end of a batch is not counted. It
    is a context manager around the Trainer's run, which closes the count after an exception.

    >>> ledger = Ledger()
    >>> with TrainingCounter(ledger) as counter:
    ...     trainer = pl.Trainer(callbacks=[counter], logger=False, enable_checkpointing=False, accelerator="cpu",
    ...                          enable_model_summary=False)
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._known: dict[Hashable, Flops] = {}
        self._opened = OpenCounter()
        self._kind: Hashable = None
        self._parameters: list[Parameter] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._opened.close()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        own = is_own(pl_module)
        # Listing the parameters at every batch is slow. Those of a user's module may change between epochs.
        if not (own and self._parameters):
            self._parameters = list(pl_module.parameters())
        if own:  # batches of one kind do the same work in all rounds
            self._known = _known.setdefault(pl_module, {})

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        # Freezing or unfreezing parameters changes the cost of a batch.
        self._start("train", _shapes(batch), tuple([p.requires_grad for p in self._parameters]))

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        flops = self._finish()
        count, devices = _num_images(batch) * trainer.world_size, trainer.world_size
        self.ledger.add("train", samples_forward=count, samples_backward=count)
        self.ledger.add("train", flops_forward=flops.forward * devices, flops_backward=flops.backward * devices)

    def on_validation_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._start("validate", _shapes(batch), dataloader_idx)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        flops = self._finish()
        devices = trainer.world_size
        self.ledger.add("validate", samples_forward=_num_images(batch) * devices, flops_forward=flops.forward * devices)

    def _start(self, *kind: Hashable) -> None:
        """Start a batch, and count its FLOPs if its kind is new."""
        self._opened.close()  # a batch that a hook skips has a start but no end
        self._kind = kind
        if kind not in self._known:
            self._opened.open()

    def _finish(self) -> Flops:
        counted = self._opened.close()
        if counted is not None:
            self._known[self._kind] = counted
        return self._known.get(self._kind, Flops())


def _shapes(batch: Any) -> tuple[torch.Size, ...]:
    # A walk through the tree takes longer than a look at the usual pair of images and labels.
    leaves = batch if type(batch) is tuple and all(type(value) is Tensor for value in batch) else tree_leaves(batch)
    return tuple([value.shape for value in leaves if isinstance(value, Tensor)])


def _num_images(batch: Any) -> int:
    """Return the number of images in a batch of any form.

    The images are the tensor with the most dimensions.
    """
    shapes = [shape for shape in _shapes(batch) if len(shape)]
    return int(max(shapes, key=len)[0]) if shapes else 0
