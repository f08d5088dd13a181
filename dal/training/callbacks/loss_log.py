"""Logs the training loss of dal's own modules when a logger writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl

from dal.models.base_module import BaseModule
from dal.models.classifier import Classifier
from dal.models.ensemble import DeepEnsemble
from dal.models.segmenter import Segmenter

_OWN = (Classifier, DeepEnsemble, Segmenter)


class LossLog(pl.Callback):
    """Logs ``train_loss`` at the updates that loggers write.

    Lightning's ``log()`` costs more than the update of a small head, and loggers drop the values between. The callback
    must follow those that stop training, because loggers also write the last update.
    """

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer._logger_connector.should_update_logs:
            pl_module.log("train_loss", outputs["loss"])


def logs_by_callback(module: Any, accumulate: int) -> bool:
    """Return whether LossLog can log the loss of a module.

    A subclass may read the loss of each update. Lightning divides the loss of accumulated gradients.
    """
    return type(module) in _OWN and accumulate == 1


@contextmanager
def logged_by_callback(module: BaseModule) -> Iterator[None]:
    """Leave the training loss to LossLog inside the context."""
    module.logs_train_loss = False
    try:
        yield
    finally:
        del module.logs_train_loss
