"""CIFAR-10 (Krizhevsky, 2009): color images of 32x32 pixels in ten classes.

The set has 50,000 training and 10,000 test images.
"""

from __future__ import annotations

from dataclasses import dataclass

import torchvision

from dal.data.images import ImageSplits
from dal.data.sets.config import DataConfig
from dal.data.sets.torchvision_sets import read_cifar

# Statistics of the 50,000 training images, scaled to 0..1.
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


@dataclass
class CIFAR10(DataConfig):
    """CIFAR-10 from torchvision's files in ``root``, as uint8 (3, 32, 32) images.

    The augmentation is a random crop after padding by 4, then a horizontal flip.

    Raises DalError if the files are missing or damaged, or if the download fails.

    >>> from dal.data import load
    >>> load(CIFAR10(root="no/such/folder"))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    dal.errors.DalError: data.root: expected the undamaged files of cifar-10... in no/such/folder, which are ...
    """

    root: str = "data/cifar10"
    """Folder of the data set's files."""
    download: bool = False
    """Whether to download missing files into root."""

    def read(self) -> ImageSplits:
        return read_cifar(torchvision.datasets.CIFAR10, "cifar10", self.root, self.download, MEAN, STD)
