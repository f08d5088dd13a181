"""CIFAR-100 (Krizhevsky, 2009): color images of 32x32 pixels in 100 classes.

The set has 50,000 training and 10,000 test images.
"""

from __future__ import annotations

from dataclasses import dataclass

import torchvision

from dal.data.images import ImageSplits
from dal.data.sets.config import DataConfig
from dal.data.sets.torchvision_sets import read_cifar

# Statistics of the 50,000 training images, scaled to 0..1.
MEAN, STD = (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)


@dataclass
class CIFAR100(DataConfig):
    """CIFAR-100 from torchvision's files in ``root``, as uint8 (3, 32, 32) images.

    The augmentation is a random crop after padding by 4, then a horizontal flip.

    Raises DalError if the files are missing or damaged, or if the download fails.

    >>> from dal.data import load
    >>> load(CIFAR100(root="no/such/folder"))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    dal.errors.DalError: data.root: expected the undamaged files of cifar-100... in no/such/folder, which are ...
    """

    root: str = "data/cifar100"
    """Folder of the data set's files."""
    download: bool = False
    """Whether to download missing files into root."""

    def read(self) -> ImageSplits:
        return read_cifar(torchvision.datasets.CIFAR100, "cifar100", self.root, self.download, MEAN, STD)
