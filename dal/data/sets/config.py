"""The configuration that all data sets share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dal.data.images import ImageSplits
from dal.runtime.ranges import Range, Ranges, check_ranges, whole


@dataclass
class DataConfig:
    """Configuration of a data set.

    A subclass is one option of ``data=``, with the name of its module. A module defines one subclass.
    """

    ranges: ClassVar[Ranges] = {
        "max_train": whole(1, 10**9, null=True),
        "imbalance_factor": Range(1, 10**9),
        "copies": whole(1, 100),
        "copy_noise": Range(0, 100),
        "outside_classes": whole(0, 10**6),
        "outside_size": whole(1, 10**9, null=True),
        "region_size": whole(1, 2**20, null=True),
    }

    max_train: int | None = None
    """Training images to keep, drawn with a fixed seed; null keeps all."""
    imbalance_factor: float = 1.0
    """Ratio of the largest to the smallest class; sizes decay exponentially (arXiv:1901.05555)."""
    copies: int = 1
    """Number of copies per training image in the pool; all but the first have noise (arXiv:1906.08158)."""
    copy_noise: float = 0.1
    """Standard deviation of the noise on copies, relative to that of the pixels of the data set."""
    outside_classes: int = 0
    """Number of classes, counted from the last, whose images become out-of-distribution images in the pool."""
    outside_from: str | None = None
    """Data set whose training images join the pool as out-of-distribution images, such as cifar100; null adds none."""
    outside_size: int | None = None
    """Number of images from outside_from, drawn with a fixed seed; null takes all."""
    region_size: int | None = None
    """Side length in pixels of the regions that campaign.unit=region buys, for segmentation; null takes none."""

    def __post_init__(self) -> None:
        check_ranges(self, "data.")

    def read(self) -> ImageSplits:
        """Read the images. Raises DalError if they cannot be read."""
        raise TypeError(f"{type(self).__name__} must define read()")
