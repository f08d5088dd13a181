"""Logs the training loss of dal's own modules when a logger writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl

from dal.models.own import is_own


class LossLog(pl.Callback):
    """Logs ``train_loss`` at the updates that loggers write.

    Lightning's ``log()`` costs more than the update of a small head, and loggers drop the values between. The entries
    equal those of ``log()``. The callback must follow those that stop training, because loggers also write the last
    update.
    """

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        every, step = trainer.log_every_n_steps, trainer.global_step  # type: ignore[attr-defined]
        if every and (step % every == 0 or trainer.should_stop) and trainer.loggers:
            values = {"epoch": trainer.current_epoch, "train_loss": outputs["loss"].item()}
            for logger in trainer.loggers:
                logger.log_metrics(metrics=values, step=step - 1)
                logger.save()


def logs_by_callback(module: Any, accumulate: int) -> bool:
    """Return whether LossLog can log the loss of a module.

    A subclass may read the loss of each update. Lightning divides the loss of accumulated gradients.
    """
    return is_own(module) and accumulate == 1


@contextmanager
def logged_by_callback(module: Any) -> Iterator[None]:
    """Leave the training loss of a module of dal to LossLog inside the context."""
    module.logs_train_loss = False
    try:
        yield
    finally:
        del module.logs_train_loss
