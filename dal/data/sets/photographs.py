"""Normalization and augmentation of data sets whose images are photographs."""

from __future__ import annotations

from dal.data.augment import Compose, HorizontalFlip, RandomCrop, RandomResizedCrop
from dal.data.images import Augmentation

# The statistics of ImageNet, which pre-trained backbones expect.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_SMALL = 64


def augmentation(width: int, flip: bool) -> Augmentation:
    """Return the random crop for images of this width in pixels.

    Images of up to 64 pixels are padded by 4 and cropped to their size; larger ones lose up to 40 % of their area.
    ``flip`` adds a horizontal flip.
    """
    crop: Augmentation = RandomCrop(padding=4) if width <= _SMALL else RandomResizedCrop(scale=(0.6, 1.0))
    return Compose([crop, HorizontalFlip()]) if flip else crop
