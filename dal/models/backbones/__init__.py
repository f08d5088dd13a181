"""Backbones by name."""

from __future__ import annotations

from dal.errors import bad_value, unknown_choice
from dal.models.backbones.base import Backbone
from dal.models.backbones.small_cnn import SmallCNN
from dal.models.backbones.torchvision_models import TorchvisionBackbone

BACKBONES = ("small_cnn", "resnet18_cifar", "torchvision/<name>")


def build_backbone(
    name: str, image_shape: tuple[int, int, int], weights: str | None = None, dropout: float = 0.25
) -> Backbone:
    """A backbone for (C, H, W) images: ``small_cnn``, ``resnet18_cifar``, or ``torchvision/resnet50`` and the like.

    Raises DalError for an unknown name.

    >>> build_backbone("small_cnn", (1, 8, 8)).num_features
    128
    """
    channels, height, width = image_shape
    if channels not in (1, 3) and name != "small_cnn":
        raise bad_value("image_shape", "1 or 3 channels for this backbone", image_shape)
    if name == "small_cnn":
        if weights is not None:
            raise bad_value("weights", "null: small_cnn has no pre-trained weights", weights)
        return SmallCNN(channels, (height, width), dropout)
    if name == "resnet18_cifar":
        return TorchvisionBackbone("resnet18", weights, cifar_stem=True)
    if name.startswith("torchvision/"):
        return TorchvisionBackbone(name.removeprefix("torchvision/"), weights)
    raise unknown_choice("backbone", BACKBONES, name)


__all__ = ["BACKBONES", "Backbone", "SmallCNN", "TorchvisionBackbone", "build_backbone"]
