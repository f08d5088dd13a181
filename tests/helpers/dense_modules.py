"""Segmentation modules as people write them, for images (3, 16, 16) and three classes."""

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import nn


class TinyUNet(nn.Module):
    """A U-Net with a skip connection around its dropout layers, and logits at half the resolution."""

    def __init__(self, deep_dropout=0.5):
        super().__init__()
        torch.manual_seed(0)
        self.fine = nn.Conv2d(3, 6, 3, 2, padding=1)
        self.deep = nn.Sequential(nn.Conv2d(6, 8, 3, 2, padding=1), nn.ReLU(), nn.Dropout2d(deep_dropout))
        self.merged = nn.Conv2d(14, 6, 3, padding=1)
        self.dropout, self.head = nn.Dropout(0.3), nn.Conv2d(6, 3, 1)

    def forward(self, x):
        half = self.fine(x).relu()
        deep = F.interpolate(self.deep(half), half.shape[2:], mode="bilinear")
        logits = self.head(self.dropout(self.merged(torch.cat([half, deep], dim=1)).relu()))
        return {"out": F.interpolate(logits, x.shape[2:], mode="bilinear")}


class DenseModule(pl.LightningModule):
    """Any network in a LightningModule, trained on (images, masks)."""

    def __init__(self, net):
        super().__init__()
        self.model = net

    def forward(self, x):
        return self.model(x)

    def training_step(self, batch, batch_idx):
        out = self(batch[0])
        out = out["out"] if isinstance(out, dict) else out
        return F.cross_entropy(out, batch[1].long(), ignore_index=255)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)


def dense_images(count=4, side=16):
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0))
