"""Loads a data set and its variants from a configuration."""

from __future__ import annotations

from dal.data.images import ImageSplits
from dal.data.overlap import check_labels_of_copies, check_test_images
from dal.data.sets.config import DataConfig
from dal.data.sets.registry import outside_set
from dal.data.variants.copies import noisy_copies
from dal.data.variants.out_of_distribution import add_out_of_distribution
from dal.data.variants.subset import imbalanced, random_subset, without_classes
from dal.errors import bad_value
from dal.tasks import CLASSIFICATION
from dal.tasks.base import OUT_OF_CLASS


def load(config: DataConfig) -> ImageSplits:
    """Read a data set and apply the variants of its configuration.

    Variants apply in the order imbalance, subset, copies, out-of-distribution images. With ``region_size``, the points
    of the pool are regions of its images.

    Raises DalError if the images cannot be read, if a setting does not fit them, or if both sets are the same images. A
    warning names test images that are also training images, and copies of training images with another label.
    """
    train, test = config.read()
    check_labels_of_copies(train)
    if test is not None:
        check_test_images(train, test)
    if train.task.name != CLASSIFICATION.name:
        _check_variants(config, train.task.name)
    if config.imbalance_factor != 1.0:
        train = imbalanced(train, config.imbalance_factor)
    if config.max_train is not None:
        train = random_subset(train, config.max_train)
    if config.copies != 1:
        train = noisy_copies(train, config.copies, config.copy_noise)
    if config.outside_classes:
        train = without_classes(train, config.outside_classes)
        if test is not None:
            test = without_classes(test, config.outside_classes)
            test = test.subset((test.labels != OUT_OF_CLASS).nonzero().flatten().tolist())
    if config.outside_from is not None:
        if config.outside_from == train.name:
            raise bad_value("data.outside_from", "a data set other than data", config.outside_from)
        other = outside_set(config.outside_from, getattr(config, "download", False)).read().train
        if config.outside_size is not None:
            other = random_subset(other, config.outside_size, "data.outside_size")
        train = add_out_of_distribution(train, other)
    elif config.outside_size is not None:
        raise bad_value("data.outside_size", "null without data.outside_from", config.outside_size)
    if config.region_size is not None:
        if not train.task.is_dense:
            raise bad_value("data.region_size", f"null with {train.task.name} data", config.region_size)
        train = train.in_units(config.region_size)
    return ImageSplits(train, test)


def _check_variants(config: DataConfig, task: str) -> None:
    """Raise DalError for variants that need one class per image."""
    for name, off in (("imbalance_factor", 1.0), ("outside_classes", 0), ("outside_from", None)):
        if getattr(config, name) != off:
            raise bad_value(f"data.{name}", f"{off} with {task} data", getattr(config, name))
