"""Finds test images that are also training images."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Hashable, Sequence

import torch

from dal.data.images import ImageData, image_digests
from dal.data.sources.torch_dataset import DatasetSource, place_in
from dal.errors import DalError
from dal.runtime.safe_text import visible

_COMPARED = 32
_NAMED = 3


def check_test_images(train: ImageData, test: ImageData, refuse: bool = True) -> None:
    """Warn about test images that are also in the training set.

    Digests identify the images. Subsets of one Dataset are compared by position. Other sources without digests are only
    compared if both have the same size: up to 32 images at the same positions.

    Raises DalError if the test set consists of the training images. Without ``refuse``, this is a warning too.
    """
    keys = _keys(train, test)
    in_train, in_test = keys or ((), ())
    same = _look_the_same(train, test) if keys is None else Counter(in_train) == Counter(in_test)
    if same and refuse:
        raise DalError(_same(len(test)) + " Choose another test set.")
    if same:
        warnings.warn(_same(len(test)) + " Test results are too good.", stacklevel=1)
        return
    place = {key: position for position, key in reversed(list(enumerate(in_train)))}
    pairs = [(position, place[key]) for position, key in enumerate(in_test) if key in place]
    if pairs:
        named = [f"{visible(test.ids[a])} is {visible(train.ids[b])}" for a, b in pairs[:_NAMED]]
        # Level 1, so that Python shows the warning once if loading and running both check the same data.
        warnings.warn(
            f"data: {len(pairs):,} of {len(test):,} test images are also training images, so test results are too "
            f"good: {', '.join(named)}{', ...' if len(pairs) > _NAMED else ''}.",
            stacklevel=1,
        )


def _same(count: int) -> str:
    expected = "other images in the test set than in the training set"
    return f"data: expected {expected}, got the same {count:,} images in both."


def _keys(train: ImageData, test: ImageData) -> tuple[Sequence[Hashable], Sequence[Hashable]] | None:
    """Return keys that are equal for equal images, or None if there are none."""
    first = image_digests(train.source, range(len(train)))
    second = None if first is None else image_digests(test.source, range(len(test)))
    if first is not None and second is not None:
        return first, second
    if isinstance(train.source, DatasetSource) and isinstance(test.source, DatasetSource):
        whole, places = place_in(train.source.dataset)
        other, others = place_in(test.source.dataset)
        if whole is other:
            return places, others
    return None


def _look_the_same(train: ImageData, test: ImageData) -> bool:
    if len(train) != len(test):
        return False
    count = min(len(train), _COMPARED)
    for position in (number * len(train) // count for number in range(count)):
        first, second = train.source.batch([position]), test.source.batch([position])
        if first.dtype != second.dtype or not torch.equal(first.nan_to_num(), second.nan_to_num()):
            return False
    return True
