"""Counting what training costs, in images and FLOPs, while a Lightning Trainer runs."""

from __future__ import annotations

from collections.abc import Hashable
from types import TracebackType
from typing import Any, Self

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn import Parameter
from torch.utils._pytree import tree_leaves

from dal.costs.flops import Flops, OpenCounter
from dal.costs.ledger import Ledger


class TrainingCounter(pl.Callback):
    """Charges the images and FLOPs of all devices, as batches go through training_step and a user's validation_step.

    FLOPs are counted on the first batch of each shape, and again when parameters are frozen or thawed, and multiplied
    by the batches like it: one batch in a round is slower, and no number of the training changes. All that happens in a
    batch counts, whatever the optimizers and the accumulation; where batches of one shape do different work, as when a
    GAN trains one half more often, they are charged as the first one.

    It must be the first of the callbacks, so that what others do at the end of a batch is not counted, and is a context
    manager for the time of the Trainer's run, so that nothing stays open when that ends by an exception.

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
        # Looking for them at every batch would take longer than the rest.
        self._parameters = list(pl_module.parameters())

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        # Where parameters are frozen or thawed, the next batch costs something else.
        self._start("train", _shapes(batch), tuple(p.requires_grad for p in self._parameters))

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        flops = self._finish()
        count, devices = len(batch[1]) * trainer.world_size, trainer.world_size
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
        self.ledger.add("validate", samples_forward=len(batch[1]) * devices, flops_forward=flops.forward * devices)

    def _start(self, *kind: Hashable) -> None:
        """A batch begins, and batches of one kind cost the same."""
        self._opened.close()  # a batch that a hook skips has a start and no end
        self._kind = kind
        if kind not in self._known:
            self._opened.open()

    def _finish(self) -> Flops:
        counted = self._opened.close()
        if counted is not None:
            self._known[self._kind] = counted
        return self._known.get(self._kind, Flops())


def _shapes(batch: Any) -> tuple[torch.Size, ...]:
    return tuple(value.shape for value in tree_leaves(batch) if isinstance(value, Tensor))
