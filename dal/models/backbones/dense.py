"""Backbones for segmentation by name, whose features keep their place in the image."""

from __future__ import annotations

from dal.errors import bad_value, unknown_choice
from dal.models.backbones.base import Backbone, features_of_one
from dal.models.backbones.resized import Resized
from dal.models.backbones.segmentation_net import SegmentationNet
from dal.models.backbones.torchvision_segmentation import TORCHVISION_SEGMENTATION, TorchvisionSegmentation

SEGMENTATION_BACKBONES = ("segmentation_net", *TORCHVISION_SEGMENTATION)


def build_segmentation_backbone(
    name: str, image_shape: tuple[int, int, int], weights: str | None = None, input_size: int | None = None
) -> Backbone:
    """Return a backbone that maps (B, C, H, W) images to (B, D, h, w) features.

    ``name`` is segmentation_net or the name of a torchvision segmentation model. ``input_size`` is the side in pixels
    to which images are resized. Raises DalError for an unknown name, and for images or weights that do not fit.

    >>> build_segmentation_backbone("segmentation_net", (3, 32, 32)).num_features
    32
    """
    if name not in SEGMENTATION_BACKBONES:
        raise unknown_choice("model.backbone", SEGMENTATION_BACKBONES, name)
    backbone: Backbone
    if name == "segmentation_net":
        if weights is not None:
            raise bad_value("weights", "null: segmentation_net has no pre-trained weights", weights)
        backbone = SegmentationNet(image_shape[0])
    else:
        if image_shape[0] not in (1, 3):
            raise bad_value("image_shape", "1 or 3 channels for this backbone", image_shape)
        backbone = TorchvisionSegmentation(name, weights)
    if input_size is not None:
        backbone = Resized(backbone, input_size)
    features_of_one(backbone, image_shape, name, input_size, "512")
    return backbone
