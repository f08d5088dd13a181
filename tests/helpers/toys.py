"""Images of three classes and a network that learns them in a few updates."""

import torch

from dal.data import ImageData, TensorSource
from dal.models import Classifier
from dal.models.backbones import SmallCNN

CLASSES = ("bright", "left", "top")


def toy_images(count, seed=0):
    """(count, 1, 8, 8) noise with a bright square, left half or top half; and the classes."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (count,), generator=g)
    images = torch.randint(0, 120, (count, 1, 8, 8), generator=g)
    for image, label in zip(images, labels, strict=True):
        part = [image[:, 2:6, 2:6], image[:, :, :4], image[:, :4, :]][int(label)]
        part += 100
    return images.to(torch.uint8), labels


def toy_data(count=90, seed=0):
    images, labels = toy_images(count, seed)
    ids = [f"toy-{i:03d}" for i in range(count)]
    return ImageData("toy", TensorSource(images), ids, labels, CLASSES, mean=[0.4], std=[0.25])


def toy_model():
    return Classifier(SmallCNN(1, (8, 8)), num_classes=3, lr=3e-3)
