"""A small CNN with two convolutions and a dense layer."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import interpolate

from dal.errors import bad_value
from dal.models.backbones.base import Backbone
from dal.runtime.ranges import Range, whole

OPTIONS = {"width": Range(0, 64, above=True), "depth": whole(2, 100)}
"""Ranges of the options, by name."""


class SmallCNN(Backbone):
    """A small CNN with two convolutions and a dense layer.

    Maps (B, C, H, W) images to (B, 128) features. Images need at least 4 pixels per side. Dropout precedes the dense
    layer, so that MC dropout runs the convolutions only once. ``width`` is a factor on the number of channels and of
    features, each at least 1. ``depth`` is the number of convolutions: those after the second are residual. Images of
    half the size are accepted too: their last maps are enlarged.

    >>> import torch
    >>> SmallCNN(in_channels=1, image_size=(28, 28))(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 128])
    """

    num_features = 128

    def __init__(
        self,
        in_channels: int,
        image_size: tuple[int, int],
        dropout: float = 0.25,
        width: float = 1.0,
        depth: int = 2,
    ) -> None:
        super().__init__()
        rows, columns = (side // 4 for side in image_size)
        if rows < 1 or columns < 1:
            raise bad_value("image_size", "at least 4 x 4 pixels", image_size)
        if not 0 <= dropout < 1:
            raise bad_value("backbone_dropout", "a probability from 0 to below 1", dropout)
        for name, value in (("width", width), ("depth", depth)):
            OPTIONS[name].check(f"model.backbone_options.{name}", value)
        first, second, self.num_features = (max(1, round(width * size)) for size in (16, 32, self.num_features))
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, first, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(first, second, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            *(_Residual(second) for _ in range(depth - 2)),
            _Flatten((rows, columns), *(-(-side // 2) // 4 for side in image_size)),
            nn.Dropout(dropout),
            nn.Linear(second * rows * columns, self.num_features),
            nn.ReLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.layers(x)
        return features


class _Flatten(nn.Flatten):
    """Flattens maps, after those of images of half the size are enlarged to ``size``."""

    def __init__(self, size: tuple[int, int], *half_size: int) -> None:
        super().__init__()
        self.size, self.half_size = size, half_size

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2:] == self.half_size:
            x = interpolate(x, self.size, mode="nearest-exact")  # the gradient of bilinear is random on a GPU
        return super().forward(x)


class _Residual(nn.Module):
    """Adds the rectified output of a convolution to its input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = x + self.conv(x).relu()
        return added
