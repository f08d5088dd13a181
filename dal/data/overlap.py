"""Finds images that occur twice: in both sets, or in two classes."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Hashable, Sequence

import torch

from dal.data.fingerprint import labels_in_words
from dal.data.image_sources import image_marks
from dal.data.images import ImageData, image_digests
from dal.data.sources.listed_content import place_in
from dal.data.sources.torch_dataset import DatasetSource
from dal.errors import DalError
from dal.runtime.safe_text import visible

_COMPARED = 32
_NAMED = 3


def check_test_images(train: ImageData, test: ImageData, refuse: bool = True) -> None:
    """Warn about test images that are also in the training set.

    Digests or exact marks identify the images. Subsets of one Dataset are compared by position. Other sources without
    digests are only compared if both have the same size: up to 32 images at the same positions.

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
        others = len([0 for a, b in pairs if _differ(test, a, train, b)])
        # Level 1, so that Python shows the warning once if loading and running both check the same data.
        warnings.warn(
            f"data: {len(pairs):,} of {len(test):,} test images are also training images, so test results are too "
            f"good: {', '.join(named)}{', ...' if len(pairs) > _NAMED else ''}."
            f"{f' Labels differ for {others:,} of them.' if others else ''}",
            stacklevel=1,
        )


def check_labels_of_copies(data: ImageData) -> None:
    """Warn about images that occur twice in a set with different labels.

    Only digests and exact marks identify the images. Images without a label are not compared.
    """
    keys = _content(data)
    if keys is None or data.task.is_dense:
        return
    first = dict[Hashable, int]()
    known = data.task.known(data.labels).tolist()
    pairs = []
    for position, key in enumerate(keys):
        if known[position]:
            before = first.setdefault(key, position)
            if before != position and _differ(data, position, data, before):
                pairs.append((before, position))
    if pairs:
        named = [" and ".join(f"{visible(data.ids[one])} ({_label(data, one)})" for one in pair) for pair in pairs]
        warnings.warn(
            f"data: {len(pairs):,} of {len(data):,} images are copies of images with another label: "
            f"{', '.join(named[:_NAMED])}{', ...' if len(pairs) > _NAMED else ''}.",
            stacklevel=1,
        )


def _differ(data: ImageData, position: int, other: ImageData, place: int) -> bool:
    """Return whether two images have different labels, both known."""
    labels, others = data.labels[position], other.labels[place]
    is_known = bool(
        data.task.known(data.labels[position : position + 1]) & other.task.known(other.labels[place : place + 1])
    )
    return is_known and not data.task.is_dense and labels.shape == others.shape and not torch.equal(labels, others)


def _label(data: ImageData, position: int) -> str:
    return visible(labels_in_words(data.task, data.labels[position : position + 1], data.classes)[0])


def _same(count: int) -> str:
    expected = "other images in the test set than in the training set"
    return f"data: expected {expected}, got the same {count:,} images in both."


def _keys(train: ImageData, test: ImageData) -> tuple[Sequence[Hashable], Sequence[Hashable]] | None:
    """Return keys that are equal for equal images, or None if there are none."""
    first = _content(train)
    second = None if first is None else _content(test)
    if first is not None and second is not None:
        return first, second
    if isinstance(train.source, DatasetSource) and isinstance(test.source, DatasetSource):
        whole, places = place_in(train.source.dataset)
        other, others = place_in(test.source.dataset)
        if whole is other:
            return places, others
    return None


def _content(data: ImageData) -> Sequence[Hashable] | None:
    """Return the digests or exact marks of all images, or None."""
    every = range(len(data))
    digests = image_digests(data.source, every)
    if digests is not None:
        return digests
    marks = image_marks(data.source, every)
    return marks.values if marks is not None and marks.exact else None


def _look_the_same(train: ImageData, test: ImageData) -> bool:
    if len(train) != len(test):
        return False
    count = min(len(train), _COMPARED)
    for position in (number * len(train) // count for number in range(count)):
        first, second = train.source.batch([position]), test.source.batch([position])
        if first.dtype != second.dtype or not torch.equal(first.nan_to_num(), second.nan_to_num()):
            return False
    return True
