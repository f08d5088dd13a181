"""The base class of dal's own LightningModules: their optimizers and schedules."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from dal.errors import unknown_choice
from dal.runtime.ranges import Range, share

OPTIMIZERS = ("adam", "adamw", "sgd")
SCHEDULES = ("constant", "cosine")
RANGES = {
    "dropout": share(below=True, noun="a probability"),
    "lr": Range(0, 1000, above=True),
    "weight_decay": Range(0, 1000),
    "momentum": Range(0, 1, below=True),
}
"""Ranges of the numbers, by name."""


class BaseModule(pl.LightningModule):
    """A LightningModule with one of dal's optimizers and schedules.

    Raises DalError for an unknown optimizer or schedule and for numbers out of range.
    """

    def __init__(
        self, *, dropout: float, optimizer: str, lr: float, weight_decay: float, momentum: float, schedule: str
    ) -> None:
        super().__init__()
        if optimizer not in OPTIMIZERS:
            raise unknown_choice("optimizer", OPTIMIZERS, optimizer)
        if schedule not in SCHEDULES:
            raise unknown_choice("schedule", SCHEDULES, schedule)
        numbers = {"dropout": dropout, "lr": lr, "weight_decay": weight_decay, "momentum": momentum}
        for name, value in numbers.items():
            RANGES[name].check(name, value)
        self.optimizer, self.schedule = optimizer, schedule
        self.lr, self.weight_decay, self.momentum = lr, weight_decay, momentum

    logs_train_loss = True
    """Whether training_step() logs the loss. A round of dal logs it elsewhere, at the updates that loggers write."""

    def __setattr__(self, name: str, value: Any) -> None:
        # Lightning sets this name before and after every hook. The search for a layer of this name takes longer.
        if name == "_current_fx_name":
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    def log_train_loss(self, loss: Tensor) -> Tensor:
        """Log the loss of a training step, and return it."""
        if self.logs_train_loss:
            self.log("train_loss", loss)
        return loss

    def configure_optimizers(self) -> Any:
        optimizer: torch.optim.Optimizer
        trained = [p for p in self.parameters() if p.requires_grad]
        if self.optimizer == "sgd":
            optimizer = torch.optim.SGD(trained, lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay)
        else:
            family = torch.optim.AdamW if self.optimizer == "adamw" else torch.optim.Adam
            optimizer = family(trained, lr=self.lr, weight_decay=self.weight_decay)
        if self.schedule == "constant":
            return optimizer
        updates = int(self.trainer.estimated_stepping_batches)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
