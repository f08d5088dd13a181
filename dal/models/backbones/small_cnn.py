"""A small CNN with two convolutions and a dense layer."""

from __future__ import annotations

from torch import Tensor, nn

from dal.errors import bad_value
from dal.models.backbones.base import Backbone


class SmallCNN(Backbone):
    """A small CNN with two convolutions and a dense layer.

    Maps (B, C, H, W) images to (B, 128) features. Images need at least 4 pixels per side. Dropout precedes the dense
    layer, so that MC dropout runs the convolutions only once.

    >>> import torch
    >>> SmallCNN(in_channels=1, image_size=(28, 28))(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 128])
    """

    num_features = 128

    def __init__(self, in_channels: int, image_size: tuple[int, int], dropout: float = 0.25) -> None:
        super().__init__()
        height, width = (side // 4 for side in image_size)
        if height < 1 or width < 1:
            raise bad_value("image_size", "at least 4 x 4 pixels", image_size)
        if not 0 <= dropout < 1:
            raise bad_value("backbone_dropout", "a probability from 0 to below 1", dropout)
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(32 * height * width, self.num_features),
            nn.ReLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.layers(x)
        return features
