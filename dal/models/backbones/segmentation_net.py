"""A small U-Net whose first convolution halves the resolution."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from dal.models.backbones.base import Backbone


class SegmentationNet(Backbone):
    """A small U-Net (arXiv:1505.04597) whose first convolution halves the resolution.

    Maps (B, C, H, W) images to (B, 32, h, w) features, where h is H / 2 and w is W / 2, rounded up. It has three
    resolutions and about 100,000 parameters. Group normalization (arXiv:1803.08494) makes images independent of their
    batch, also in training.

    >>> SegmentationNet(in_channels=3)(torch.zeros(2, 3, 32, 48)).shape
    torch.Size([2, 32, 16, 24])
    """

    num_features = 32

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.at_half = nn.Sequential(_convolution(in_channels, 24, stride=2), _convolution(24, 24))
        self.at_quarter = nn.Sequential(_convolution(24, 32, stride=2), _convolution(32, 32))
        self.at_eighth = nn.Sequential(_convolution(32, 48, stride=2), _convolution(48, 48))
        self.to_quarter = _convolution(48 + 32, 32)
        self.to_half = _convolution(32 + 24, self.num_features)

    def forward(self, x: Tensor) -> Tensor:
        half = self.at_half(x)
        quarter = self.at_quarter(half)
        merged = self.to_quarter(_beside(self.at_eighth(quarter), quarter))
        features: Tensor = self.to_half(_beside(merged, half))
        return features


def _convolution(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False),
        nn.GroupNorm(8, out_channels),
        nn.ReLU(),
    )


def _beside(coarse: Tensor, fine: Tensor) -> Tensor:
    """Resize coarse maps to the size of fine ones, and concatenate both."""
    return torch.cat([interpolate(coarse, fine.shape[-2:], mode="bilinear", align_corners=False), fine], dim=1)
