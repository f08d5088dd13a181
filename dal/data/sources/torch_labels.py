"""Reads labels, class names and ids of a torchvision-style Dataset."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Subset

from dal.data.sources.folder.names import check_listed_names, distinct_names
from dal.data.sources.items import ItemKeys, class_of_one_hot, is_vector
from dal.errors import DalError, bad_content, bad_value
from dal.tasks.base import UNKNOWN


def class_names(dataset: Any, classes: Sequence[str] | None, num_classes: int | None) -> list[str]:
    """Return the given names, the dataset's, or numbers.

    Raises DalError if the number of classes is unknown.
    """
    while isinstance(dataset, Subset):
        dataset = dataset.dataset
    if classes is None:
        own = getattr(dataset, "classes", None)
        names = [] if own is None else distinct_names(own, getattr(dataset, "wnids", None))
    else:
        names = [str(name) for name in classes]
    if not names and num_classes is None:
        raise DalError(
            "classes: expected the class names or their number, got neither, and the dataset has no attribute classes. "
            "Pass classes= or num_classes= (they are never inferred from labels, which may be hidden)."
        )
    check_listed_names("classes", names)
    if num_classes is not None and names and len(names) != num_classes:
        raise bad_value("num_classes", f"{len(names)}, the number of class names", num_classes)
    return names or [str(number) for number in range(num_classes or 0)]


def known_labels(
    dataset: Any, labels: Sequence[int | None] | Tensor | None, read: Any, keys: ItemKeys | None = None
) -> Tensor:
    """Return the (N,) int64 labels, -1 if unknown.

    They are the given labels, the labels that the dataset lists, or the labels of the items of ``read``, in this order
    of preference. If a label key is given, the labels of the items are used. Exact one-hot rows become class numbers.
    """
    keys = keys or ItemKeys()
    count = len(dataset)
    argument = "dataset" if labels is None else "labels"
    listed = _listed_labels(dataset) if labels is None and keys.label is None else None
    values = listed if labels is None else _as_list(labels)
    if values is not None and len(values) != count:
        raise bad_content(argument, f"one label for each of the {count} points", f"{len(values)} labels")
    if values is None:
        values = [keys.label_of(read[position], position) for position in range(count)]
    elif labels is None:
        _check_listed(values, read, keys)
    return torch.tensor([_number(argument, value, position) for position, value in enumerate(values)])


def default_ids(dataset: Any) -> list[str]:
    """Return paths relative to the dataset's root, or positions.

    A Subset keeps the ids of its dataset.
    """
    if isinstance(dataset, Subset):
        whole = default_ids(dataset.dataset)
        return [whole[position] for position in dataset.indices]
    samples: Any = getattr(dataset, "samples", None)
    if _fits(samples, dataset) and all(isinstance(sample[0], (str, Path)) for sample in samples):
        paths, root = [Path(sample[0]) for sample in samples], Path(getattr(dataset, "root", ""))
        return [(path.relative_to(root) if path.is_relative_to(root) else path).as_posix() for path in paths]
    return [f"{position:06d}" for position in range(len(dataset))]


def item_label(item: object, index: int = 0, keys: ItemKeys | None = None) -> int | None:
    """Return the integer label of an item, or None."""
    keys = keys or ItemKeys()
    if not keys.has_label(item):
        return None
    try:
        return operator.index(keys.label_of(item, index))
    except TypeError:
        return None


def _listed_labels(dataset: Any) -> list[Any] | None:
    if isinstance(dataset, Subset):
        whole = _listed_labels(dataset.dataset)
        return None if whole is None else [whole[position] for position in dataset.indices]
    # Listed labels ignore target_transform.
    if getattr(dataset, "target_transform", None) is not None:
        return None
    for name in ("targets", "labels"):
        if _fits(values := getattr(dataset, name, None), dataset):
            return _as_list(values)
    samples: Any = getattr(dataset, "samples", None)
    if _fits(samples, dataset) and all(isinstance(s, (tuple, list)) and len(s) == 2 for s in samples):
        return [sample[1] for sample in samples]
    return None


def _check_listed(values: Sequence[Any], read: Any, keys: ItemKeys) -> None:
    for position in {0, len(values) // 2, len(values) - 1}:
        label = item_label(read[position], position, keys)
        given = values[position]
        if label is not None and given is not None and not is_vector(given) and label != given:
            raise DalError(
                f"dataset: expected the label it lists for point {position}, {given!r}, "
                f"also in dataset[{position}], got {label}. Pass labels=."
            )


def _fits(values: Any, dataset: Any) -> bool:
    """Return whether ``values`` is a sequence with one entry per point."""
    listed = isinstance(values, (list, tuple)) or hasattr(values, "tolist")
    return listed and hasattr(values, "__len__") and len(values) == len(dataset)


def _as_list(values: Any) -> list[Any]:
    return list(values.tolist() if hasattr(values, "tolist") else values)


def _number(argument: str, value: Any, position: int) -> int:
    if value is None:
        return UNKNOWN
    if is_vector(value):
        return class_of_one_hot(argument, value, position)
    expected = f"a class number, None or -1 as the label of point {position}"
    try:
        number = operator.index(value)
    except TypeError:
        if getattr(value, "ndim", 0):
            shape = f"an array of shape {tuple(value.shape)}"
            raise bad_content(argument, f'{expected} (for masks, pass task="segmentation")', shape) from None
        raise bad_value(argument, expected, value) from None
    if abs(number) > torch.iinfo(torch.int64).max:
        raise bad_value(argument, expected, value)
    return number
