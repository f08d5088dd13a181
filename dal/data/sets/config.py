"""The configuration that all data sets share."""

from __future__ import annotations

from dataclasses import dataclass

from dal.data.images import ImageSplits


@dataclass
class DataConfig:
    """Configuration of a data set. A subclass, alone in its module, is one option of ``data=`` (the module's name)."""

    max_train: int | None = None
    """Training images to keep, drawn with a fixed seed; null keeps all."""
    imbalance_factor: float = 1.0
    """Size of the most frequent class over that of the rarest, decaying exponentially (arXiv:1901.05555)."""
    copies: int = 1
    """Times that each training image is in the pool; all but the first get noise (arXiv:1906.08158)."""
    copy_noise: float = 0.1
    """Standard deviation of the noise on copies, relative to that of the data set's pixels."""
    outside_classes: int = 0
    """Number of last classes whose images stay in the pool as out-of-distribution images."""
    outside_from: str | None = None
    """Data set whose training images join the pool as out-of-distribution images, such as cifar100; null adds none."""
    outside_size: int | None = None
    """Images taken from outside_from, drawn with a fixed seed; null takes all."""

    def read(self) -> ImageSplits:
        """Read the images. Raises DalError with one sentence where they cannot be had."""
        raise TypeError(f"{type(self).__name__} must define read()")
