"""Smaller or imbalanced versions of a data set, identical on every machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dal.data.images import ImageData
from dal.data.sets.config import DataConfig
from dal.errors import bad_value
from dal.runtime.seeding import derive_seed
from dal.tasks.base import OUT_OF_CLASS, UNKNOWN


def random_subset(data: ImageData, size: int, argument: str = "data.max_train") -> ImageData:
    """Return ``size`` points drawn with a fixed seed, in original order.

    The draw depends only on the ids. A larger subset contains every smaller one.

    Raises DalError, with ``argument``, if ``size`` is not from 1 to len(data).

    >>> import torch
    >>> from dal.data.images import TensorSource
    >>> data = ImageData("toy", TensorSource(torch.zeros(4, 1, 8, 8, dtype=torch.uint8)), ["a", "b", "c", "d"],
    ...                  torch.tensor([0, 1, 0, 1]), ["cat", "dog"], mean=[0.5], std=[0.5])
    >>> len(random_subset(data, 3))
    3
    """
    if not 1 <= size <= len(data):
        raise bad_value(f"size ({argument})", f"from 1 to {len(data)}, the number of training points", size)
    return data.subset(_drawn(data, range(len(data)), size))


def imbalanced(data: ImageData, factor: float) -> ImageData:
    """Return a long-tailed version of the data (arXiv:1901.05555).

    Class c of C keeps ``n_max * factor ** (-c / (C - 1))`` points, rounded down and at least one, where n_max is the
    size of the largest class. A class with fewer points keeps all of them.

    Raises DalError if ``factor`` is less than 1 or a label is unknown.

    >>> import torch
    >>> from dal.data.images import TensorSource
    >>> data = ImageData("toy", TensorSource(torch.zeros(20, 1, 8, 8, dtype=torch.uint8)), list("abcdefghijklmnopqrst"),
    ...                  torch.arange(20) % 2, ["cat", "dog"], mean=[0.5], std=[0.5])
    >>> imbalanced(data, factor=5).labels.bincount()
    tensor([10,  2])
    """
    DataConfig.ranges["imbalance_factor"].check("factor (data.imbalance_factor)", factor)
    if bool((data.labels == UNKNOWN).any()):
        unknown = int((data.labels == UNKNOWN).sum())
        raise bad_value(
            "factor (data.imbalance_factor)", "data whose labels are all known", f"{unknown} unknown labels"
        )
    largest = int(data.labels.bincount().max())
    kept: list[int] = []
    for number in range(data.num_classes):
        members = (data.labels == number).nonzero().flatten().tolist()
        # Without the epsilon, an exact count such as 500 / 100 could be rounded down to 4.
        wanted = int(largest * factor ** (-number / (data.num_classes - 1)) + 1e-6)
        kept += _drawn(data, members, max(wanted, 1))
    return data.subset(sorted(kept))


def without_classes(data: ImageData, count: int) -> ImageData:
    """Remove the last ``count`` classes, and label their images OUT_OF_CLASS.

    This is the pool of open-set active learning (arXiv:2201.06758).

    Raises DalError if ``count`` is negative or leaves fewer than two classes.

    >>> import torch
    >>> from dal.data.images import TensorSource
    >>> data = ImageData("toy", TensorSource(torch.zeros(4, 1, 8, 8, dtype=torch.uint8)), ["a", "b", "c", "d"],
    ...                  torch.tensor([0, 1, 2, -1]), ["cat", "dog", "car"], mean=[0.5], std=[0.5])
    >>> without_classes(data, 1).labels, without_classes(data, 1).classes
    (tensor([ 0,  1, -2, -1]), ['cat', 'dog'])
    """
    left = data.num_classes - count
    if count < 0 or left < 2:
        expected = f"from 0 to {data.num_classes - 2}, so that at least two classes remain"
        raise bad_value("count (data.outside_classes)", expected, count)
    return replace(
        data, classes=list(data.classes[:left]), labels=data.labels.masked_fill(data.labels >= left, OUT_OF_CLASS)
    )


def _drawn(data: ImageData, positions: Sequence[int], size: int) -> list[int]:
    """Return the sorted positions of the ``size`` ids with the smallest hashes."""
    return sorted(sorted(positions, key=lambda position: derive_seed(0, "subset", data.ids[position]))[:size])
