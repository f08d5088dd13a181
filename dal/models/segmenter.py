"""Segmenter: a LightningModule with a backbone, dropout and a 1x1 convolution as head."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchmetrics.classification import MulticlassConfusionMatrix

from dal.errors import bad_content, bad_value
from dal.models.backbones import Backbone
from dal.models.base_module import BaseModule
from dal.models.memory_format import channels_last
from dal.runtime.ranges import Range
from dal.tasks import IGNORED, SEGMENTATION
from dal.tasks.mask_tally import sum_of_losses, upsampled

_WEIGHT = Range(0, 1000, above=True)


class Segmenter(BaseModule):
    """Maps images to logits of their pixels with a backbone, dropout and a 1x1 convolution.

    ``backbone`` maps (B, C, H, W) images to (B, num_features, h, w) features. The head maps these to
    (B, num_classes, h, w) logits, which dal scores. forward() upsamples the logits to (B, num_classes, H, W). The
    module trains on (images, masks), where masks are (B, H, W) class numbers and pixels of 255 are ignored. The loss is
    the mean cross-entropy in nats of the other pixels, weighted by ``class_weights`` if given. Dropout zeroes whole
    channels, so that a draw of MC dropout is one set of weights for all pixels.

    Works with any Lightning Trainer. Logs ``train_loss``, and ``loss`` and ``miou`` of ``val`` and ``test``. mIoU is
    the mean over the classes that occur in the masks. Raises DalError for an unknown optimizer or schedule and for
    numbers out of range.

    >>> from dal.models.backbones.segmentation_net import SegmentationNet
    >>> model = Segmenter(SegmentationNet(in_channels=3), num_classes=5)
    >>> x = torch.zeros(2, 3, 32, 32)
    >>> model(x).shape, model.head_output(x).shape
    (torch.Size([2, 5, 32, 32]), torch.Size([2, 5, 16, 16]))
    """

    class_weights: Tensor | None

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
        class_weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__(
            dropout=dropout,
            optimizer=optimizer,
            lr=lr,
            weight_decay=weight_decay,
            momentum=momentum,
            schedule=schedule,
        )
        if not 2 <= num_classes <= IGNORED:
            raise bad_value("num_classes", f"from 2 to {IGNORED} classes", num_classes)
        check_class_weights("class_weights", class_weights, num_classes)
        self.task = SEGMENTATION
        self.backbone = backbone
        self.dropout = nn.Dropout2d(dropout)
        self.head = nn.Conv2d(backbone.num_features, num_classes, 1)
        weights = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)
        self.register_buffer("class_weights", weights, persistent=False)
        self.val_miou, self.test_miou = MeanIoU(num_classes), MeanIoU(num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return upsampled(self.head_output(x), x.shape[2:])

    def head_output(self, x: Tensor) -> Tensor:
        """Return the (B, num_classes, h, w) logits before they are upsampled."""
        logits: Tensor = self.head(self.dropout(self.backbone(x)))
        return logits

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the training loss of one batch."""
        return self._loss(self.head_output(x), y)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        if x.device.type == "cpu":
            x = channels_last(x)  # CPU kernels are faster on this layout
        return self.log_train_loss(self.loss(x, y))

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._evaluate("val", self.val_miou, batch)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._evaluate("test", self.test_miou, batch)

    def _evaluate(self, split: str, miou: MeanIoU, batch: tuple[Tensor, Tensor]) -> None:
        x, y = batch
        logits = upsampled(self.head_output(x), y.shape[1:])
        loss = self._loss(logits, y)
        self.log(f"{split}_loss", loss, on_step=False, on_epoch=True, batch_size=len(x))
        miou.update(logits.argmax(dim=1), y.long())
        self.log(f"{split}_miou", miou, on_step=False, on_epoch=True)

    def _loss(self, logits: Tensor, y: Tensor) -> Tensor:
        if self.class_weights is None:
            return self.task.loss(logits, y)
        targets, weights = y.long(), self.class_weights
        total = sum_of_losses(logits, y, weights)
        known = targets != IGNORED
        weight_of_all = (weights[targets.masked_fill(~known, 0)] * known).sum()
        # Without known pixels, the loss is 0.
        return total / torch.where(weight_of_all > 0, weight_of_all, 1.0)


class MeanIoU(MulticlassConfusionMatrix):
    """Mean intersection over union of the classes that occur in the masks, without ignored pixels."""

    is_differentiable = False
    higher_is_better = True
    plot_lower_bound = 0.0

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes, ignore_index=IGNORED)

    def compute(self) -> Tensor:
        confusion = super().compute().double()
        in_masks, hits = confusion.sum(dim=1), confusion.diag()
        iou = hits / (in_masks + confusion.sum(dim=0) - hits)
        return iou[in_masks > 0].mean().float()


def check_class_weights(argument: str, weights: object, num_classes: int | None = None) -> None:
    """Raise DalError unless the weights are None, or positive numbers, one for each class."""
    if weights is None:
        return
    if isinstance(weights, str) or not isinstance(weights, Sequence):
        raise bad_value(argument, "a number for each class, such as [0.2,1,1]", weights)
    for weight in weights:
        _WEIGHT.check(argument, weight)
    if num_classes is not None and len(weights) != num_classes:
        raise bad_content(argument, f"{num_classes} numbers, one for each class", str(len(weights)))
