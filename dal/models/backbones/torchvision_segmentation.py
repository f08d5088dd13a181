"""Torchvision's segmentation models by name, without their last layer."""

from __future__ import annotations

from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torch.nn.functional import interpolate

from dal.errors import unknown_choice
from dal.models.backbones.base import Backbone
from dal.models.backbones.state_file import load_state
from dal.models.backbones.torchvision_models import torchvision_state

TORCHVISION_SEGMENTATION = (
    *("fcn_resnet50", "fcn_resnet101", "deeplabv3_resnet50", "deeplabv3_resnet101"),
    *("deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large"),
)


class TorchvisionSegmentation(Backbone):
    """A torchvision segmentation model without its last layer and its auxiliary classifier.

    Maps (B, C, H, W) images to (B, D, h, w) features. h is H / 8, rounded up, or H / 16 for
    deeplabv3_mobilenet_v3_large, and so is w. Grayscale images are repeated to three channels. LRASPP adds the outputs
    of two 1x1 convolutions. This equals one such convolution of their concatenated inputs, which are the features here.

    ``weights`` is None for random weights, ``"DEFAULT"`` for weights trained on COCO (downloaded on first use), or the
    path of a state dict of the torchvision model, with any number of classes.

    Raises DalError for an unknown name or weights that cannot be loaded.

    >>> TorchvisionSegmentation("lraspp_mobilenet_v3_large").num_features
    168
    """

    def __init__(self, name: str, weights: str | None = None) -> None:
        super().__init__()
        if name not in TORCHVISION_SEGMENTATION:
            raise unknown_choice("backbone", TORCHVISION_SEGMENTATION, name)
        model: Any = torchvision.models.get_model(
            name, weights=None, weights_backbone=None, num_classes=2, aux_loss=False
        )
        self.body: nn.Module = model.backbone
        if isinstance(model.classifier, nn.Sequential):
            parts: list[Any] = list(model.classifier)
            *layers, head = parts
            self.num_features = int(head.in_channels)
            removed = [f"classifier.{len(layers)}."]
            # The Segmenter has a dropout layer in front of its head.
            kept = layers[:-1] if isinstance(layers[-1], nn.Dropout) else layers
            self.classifier: nn.Module = nn.Sequential(*kept)
        else:
            self.classifier = model.classifier
            low, high = model.classifier.low_classifier, model.classifier.high_classifier
            self.num_features = int(low.in_channels + high.in_channels)
            removed = ["classifier.low_classifier.", "classifier.high_classifier."]
            model.classifier.low_classifier = model.classifier.high_classifier = nn.Identity()
        if weights is not None:
            state = torchvision_state(name, weights)
            other = ("aux_classifier.", *removed)
            own = {
                key.replace("backbone.", "body.", 1) if key.startswith("backbone.") else key: value
                for key, value in state.items()
                if not key.startswith(other)
            }
            load_state(self, own, name)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] == 1:
            x = x.expand(-1, 3, -1, -1)
        maps = self.body(x)
        layers: Any = self.classifier
        if isinstance(layers, nn.Sequential):
            features: Tensor = layers(maps["out"])
            return features
        low, high = maps["low"], layers.cbr(maps["high"])
        high = interpolate(high * layers.scale(maps["high"]), low.shape[-2:], mode="bilinear", align_corners=False)
        return torch.cat([low, high], dim=1)
