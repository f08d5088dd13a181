"""Resizes images in front of a backbone."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import interpolate

from dal.errors import bad_value
from dal.models.backbones.base import Backbone


class Resized(Backbone):
    """Resizes images to ``size`` x ``size`` before they enter ``backbone``.

    Resizing is bilinear with antialiasing. Networks pre-trained on large images extract poor features from small ones.

    >>> import torch
    >>> from dal.models.backbones import SmallCNN
    >>> Resized(SmallCNN(1, (16, 16)), 16)(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 128])
    """

    def __init__(self, backbone: Backbone, size: int) -> None:
        super().__init__()
        if size < 1:
            raise bad_value("input_size", "at least 1 pixel", size)
        self.backbone = backbone
        self.size = size
        self.num_features = backbone.num_features

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.backbone(interpolate(x, (self.size, self.size), mode="bilinear", antialias=True))
        return features
