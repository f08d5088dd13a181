"""Classifier: a LightningModule with a backbone, dropout and a linear head."""

from __future__ import annotations

from typing import Self

from torch import Tensor, nn
from torchmetrics.classification import MulticlassAccuracy

from dal.errors import bad_value
from dal.models.backbones import Backbone
from dal.models.backbones.base import freeze
from dal.models.base_module import BaseModule
from dal.models.memory_format import channels_last
from dal.tasks import CLASSIFICATION, Task


class Classifier(BaseModule):
    """Maps images to logits with a backbone, dropout and a linear head.

    Maps (B, C, H, W) images to (B, num_classes) logits, ``head(dropout(backbone(x)))``, and trains with the loss of
    ``task``. ``backbone`` is a module with ``num_features``. Works with any Lightning Trainer. Logs ``train_loss``,
    ``val_loss`` and ``test_loss``, and for classification ``val_accuracy`` and ``test_accuracy``. Raises DalError for
    an unknown optimizer or schedule and for numbers out of range.

    With ``freeze_backbone`` only the head trains. The frozen backbone is a deterministic function of the image: its
    parameters need no gradients, it stays in eval mode (BatchNorm statistics do not change), and its dropout is off,
    including in MC dropout. Such a Classifier also accepts (B, num_features) features, which skips the backbone.

    >>> import torch
    >>> from dal.models.backbones import SmallCNN
    >>> model = Classifier(SmallCNN(1, (8, 8)), num_classes=10)
    >>> model(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        dropout: float = 0.5,
        optimizer: str = "adam",
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        momentum: float = 0.9,
        schedule: str = "constant",
        freeze_backbone: bool = False,
        task: Task = CLASSIFICATION,
    ) -> None:
        super().__init__(
            dropout=dropout,
            optimizer=optimizer,
            lr=lr,
            weight_decay=weight_decay,
            momentum=momentum,
            schedule=schedule,
        )
        if num_classes < 2:
            raise bad_value("num_classes", "at least 2", num_classes)
        self.task = task
        self.backbone, self.freeze_backbone = backbone, freeze_backbone
        if freeze_backbone:
            freeze(backbone)
        self.dropout = nn.Dropout(dropout)
        self.head: nn.Module = nn.Linear(backbone.num_features, num_classes)
        self.val_accuracy = MulticlassAccuracy(num_classes, average="micro")
        self.test_accuracy = MulticlassAccuracy(num_classes, average="micro")

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self.freeze_backbone:
            self.backbone.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.head_input(x))
        return logits

    def head_input(self, x: Tensor) -> Tensor:
        """Return the (B, D) features, with dropout applied if it is active."""
        if self.freeze_backbone and x.ndim == 2:
            if x.shape[1] != self.backbone.num_features:
                raise bad_value("x", f"images, or (B, {self.backbone.num_features}) features", tuple(x.shape))
            features = x
        else:
            features = self.backbone(x)
        dropped: Tensor = self.dropout(features)
        return dropped

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the training loss of one batch."""
        return self.task.loss(self(x), y)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        if x.ndim == 4 and x.device.type == "cpu":
            x = channels_last(x)  # CPU pooling kernels are several times as fast on this layout
        return self.log_train_loss(self.loss(x, y))

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._evaluate("val", self.val_accuracy, batch)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._evaluate("test", self.test_accuracy, batch)

    def _evaluate(self, split: str, accuracy: MulticlassAccuracy, batch: tuple[Tensor, Tensor]) -> None:
        x, y = batch
        logits = self(x)
        loss = self.task.loss(logits, y)
        self.log(f"{split}_loss", loss, on_step=False, on_epoch=True, batch_size=len(x))
        if self.task.name == CLASSIFICATION.name:
            accuracy(logits, y)
            self.log(f"{split}_accuracy", accuracy, on_step=False, on_epoch=True, batch_size=len(x))
