"""Counts what segmentation metrics need, batch by batch."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.classification import MulticlassJaccardIndex

from dal.errors import DalError
from dal.tasks.base import Metrics

IGNORED = 255
"""The class of pixels that loss and metrics leave out."""

_BLOCK_VALUES = 2**22


class MaskTally:
    """Accumulates the confusion matrix of pixels, so that logits of all images never exist at once.

    Logits are upsampled to the size of the masks, bilinearly.

    >>> tally = MaskTally(num_classes=2)
    >>> logits = torch.tensor([[[[2.0, 0.0]], [[0.0, 1.0]]]])
    >>> tally.update(logits, torch.tensor([[[0, 255]]], dtype=torch.uint8))["counts"]
    tensor([1])
    >>> tally.confusion.tolist()
    [[1, 0], [0, 0]]
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self._jaccard = MulticlassJaccardIndex(num_classes, average="none", ignore_index=IGNORED, validate_args=False)

    @property
    def confusion(self) -> Tensor:
        """(C, C) int64: pixels by true class (row) and predicted class (column)."""
        counts: Any = self._jaccard.confmat
        confusion: Tensor = counts.long().cpu()
        return confusion

    def update(self, logits: Tensor, masks: Tensor) -> dict[str, Tensor]:
        """Add images with their (B, H, W) masks.

        Returns:
            ``losses`` (B,) float64, the sum of the cross-entropy of the pixels of each image, and ``counts`` (B,)
            int64, their number.
        """
        self._jaccard.to(logits.device)
        masks = masks.to(logits.device)
        step = max(1, _BLOCK_VALUES // (logits.shape[1] * masks[0].numel()))
        parts = [self._add(logits[i : i + step], masks[i : i + step]) for i in range(0, len(logits), step)]
        losses, counts = (torch.cat(part) for part in zip(*parts, strict=True))
        return {"losses": losses, "counts": counts}

    def _add(self, logits: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        rows, targets = pixel_rows(logits, masks)
        self._jaccard.update(rows.argmax(dim=1), targets)
        losses = F.cross_entropy(rows.double(), targets, ignore_index=IGNORED, reduction="none")
        return losses.view(len(masks), -1).sum(dim=1), (targets != IGNORED).view(len(masks), -1).sum(dim=1)

    def metrics(self, losses: Tensor, counts: Tensor) -> Metrics:
        """Return mIoU, IoU per class, pixel accuracy, loss and confusion matrix.

        ``losses`` and ``counts`` are those of all images. The mean of the IoU (Jaccard index) is over the classes that
        are present in the masks. The IoU of other classes is None. Raises DalError without a pixel of a class.
        """
        confusion, total = self.confusion, int(counts.sum())
        if not total:
            raise DalError("masks: expected a pixel of a class, got only ignored pixels.")
        present = confusion.sum(dim=1) > 0
        iou: Tensor = self._jaccard.compute().double().cpu()
        return Metrics(
            miou=float(iou[present].mean()),
            iou=[float(value) if there else None for value, there in zip(iou, present, strict=True)],
            pixel_accuracy=float(confusion.diag().sum().double() / confusion.sum()),
            loss=mean_loss(losses, total),
            confusion_matrix=confusion.tolist(),
        )


def mean_loss(losses: Tensor, total: int) -> float:
    """Return the sum of losses divided by ``total``, as F.cross_entropy adds them."""
    sums = F.nll_loss(-losses.cpu()[:, None], torch.zeros(len(losses), dtype=torch.int64), reduction="sum")
    return float(sums / total)


def upsampled(logits: Tensor, size: torch.Size | tuple[int, ...]) -> Tensor:
    """Return (B, C, h, w) logits at this size (H, W), by bilinear interpolation."""
    if logits.shape[2:] == size:
        return logits
    return F.interpolate(logits, size=tuple(size), mode="bilinear", align_corners=False)


def sum_of_losses(logits: Tensor, masks: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Return the sum of the cross-entropies of known pixels, for training.

    Logits (B, C, h, w) are upsampled to the masks (B, H, W).

    >>> float(sum_of_losses(torch.zeros(1, 2, 1, 1), torch.tensor([[[0, 1, 255]]], dtype=torch.uint8)))
    1.3862943649291992
    """
    if logits.device.type == "cuda":
        # CUDA adds the losses of images, unlike those of rows, in an order that differs from run to run.
        rows, targets = pixel_rows(logits, masks)
        return F.cross_entropy(rows, targets, class_weights, ignore_index=IGNORED, reduction="none").sum()
    logits = upsampled(logits, masks.shape[1:])
    return F.cross_entropy(logits, masks.long(), class_weights, ignore_index=IGNORED, reduction="sum")


def pixel_rows(logits: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits (P, C) and int64 targets (P,) of all pixels.

    >>> rows, targets = pixel_rows(torch.zeros(2, 5, 1, 1), torch.zeros(2, 4, 4, dtype=torch.uint8))
    >>> rows.shape, targets.shape
    (torch.Size([32, 5]), torch.Size([32]))
    """
    logits = upsampled(logits, masks.shape[1:])
    return logits.permute(0, 2, 3, 1).reshape(-1, logits.shape[1]), masks.long().flatten()
