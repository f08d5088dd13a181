"""The configuration that all data sets share."""

from __future__ import annotations

from dataclasses import dataclass

from dal.data.images import ImageSplits


@dataclass
class DataConfig:
    """Configuration of a data set. A subclass, alone in its module, is one option of ``data=`` (the module's name)."""

    max_train: int | None = None  # keep this many training points, drawn with a fixed seed
    imbalance_factor: float = 1.0  # most frequent class over the rarest, decaying exponentially (arXiv:1901.05555)
    copies: int = 1  # each training image so many times, all but the first with noise (arXiv:1906.08158)
    copy_noise: float = 0.1  # standard deviation of that noise, over that of the data set's pixels
    outside_classes: int = 0  # the last so many classes are none: images stay in the pool, cost labels, teach nothing
    outside_from: str | None = None  # a data set, such as cifar100, whose training images are put in the pool likewise
    outside_size: int | None = None  # only so many of them, drawn with a fixed seed

    def read(self) -> ImageSplits:
        """Read the images. Raises DalError with one sentence where they cannot be had."""
        raise TypeError(f"{type(self).__name__} must define read()")
