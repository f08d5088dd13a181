"""Backbones by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dal.errors import bad_value, unknown_choice
from dal.models.backbones.base import Backbone, features_of_one
from dal.models.backbones.efficientnet_lite import EfficientNetLite0
from dal.models.backbones.resized import Resized
from dal.models.backbones.small_cnn import OPTIONS, SmallCNN
from dal.models.backbones.timm_models import Statistics, TimmBackbone, own_input_size
from dal.models.backbones.torchvision_models import TorchvisionBackbone, torchvision_names

BACKBONES = ("small_cnn", "resnet18_cifar", "efficientnet_lite0", "torchvision/<name>", "timm/<name>")


def build_backbone(
    name: str,
    image_shape: tuple[int, int, int],
    weights: str | None = None,
    dropout: float = 0.25,
    input_size: int | None = None,
    options: Mapping[str, float] | None = None,
    statistics: Statistics | None = None,
) -> Backbone:
    """Return a backbone for (C, H, W) images.

    ``name`` is small_cnn, resnet18_cifar, efficientnet_lite0, torchvision/NAME or timm/NAME. ``input_size`` is the side
    in pixels to which images are resized. ``options`` are for timm models, and ``width`` and ``depth`` for small_cnn.
    ``statistics`` (mean and standard deviation with which images are normalized) are for timm models.

    Raises DalError for an unknown name, and for options that the backbone does not support.

    >>> build_backbone("small_cnn", (1, 8, 8)).num_features
    128
    """
    channels = image_shape[0]
    if channels not in (1, 3) and name != "small_cnn":
        raise bad_value("image_shape", "1 or 3 channels for this backbone", image_shape)
    if name.startswith("timm/"):
        return TimmBackbone(name.removeprefix("timm/"), image_shape, weights, input_size, options, statistics)
    options = dict(options or {})
    known = list(OPTIONS) if name == "small_cnn" else []
    if options.keys() - set(known):
        expected = f"only {' and '.join(known)}" if known else "no options"
        raise bad_value("model.backbone_options", f"{expected} with backbone={name}", options)
    if input_size is not None:
        backbone = _at_size(name, (channels, input_size, input_size), weights, dropout, options)
        resized: Backbone = Resized(backbone, input_size)
    else:
        resized = backbone = _at_size(name, image_shape, weights, dropout, options)
    if not isinstance(backbone, SmallCNN):
        features_of_one(resized, image_shape, name, input_size, "224")
    return resized


def _at_size(
    name: str, image_shape: tuple[int, int, int], weights: str | None, dropout: float, options: Mapping[str, Any]
) -> Backbone:
    """Return a backbone of dal or torchvision for images of this size."""
    channels, height, width = image_shape
    if name == "small_cnn":
        if weights is not None:
            raise bad_value("weights", "null: small_cnn has no pre-trained weights", weights)
        return SmallCNN(channels, (height, width), dropout, **options)
    if name == "resnet18_cifar":
        return TorchvisionBackbone("resnet18", weights, cifar_stem=True)
    if name == "efficientnet_lite0":
        return EfficientNetLite0(weights, max(height, width))
    if name.startswith("torchvision/"):
        return TorchvisionBackbone(name.removeprefix("torchvision/"), weights)
    raise unknown_choice("backbone", BACKBONES, name, [f"torchvision/{known}" for known in torchvision_names()])


__all__ = [
    "BACKBONES",
    "Backbone",
    "EfficientNetLite0",
    "Resized",
    "SmallCNN",
    "Statistics",
    "TimmBackbone",
    "TorchvisionBackbone",
    "build_backbone",
    "own_input_size",
]
