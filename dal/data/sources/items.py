"""Finds the image and the label in an item of a Dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dal.errors import bad_content, bad_value

Key = str | int


@dataclass(frozen=True)
class ItemKeys:
    """The places of the image and the label in an item.

    A place is a key of a dict, a position in a tuple, or the name of an attribute. None means position 0 for the image
    and 1 for the label of a tuple. An item that is not a tuple is then an image without a label.

    >>> ItemKeys("image", "label").image_of({"image": "x", "label": 3}, 0)
    'x'
    """

    image: Key | None = None
    label: Key | None = None

    def image_of(self, item: Any, index: int) -> Any:
        """Return the image. Raises DalError if there is none at this place."""
        if self.image is not None:
            return _at(item, self.image, index, "image")
        if isinstance(item, Mapping):
            names = ", ".join(repr(name) for name in item)
            raise bad_content(f"dataset[{index}]", f"image= and label=, the keys of a dict item ({names})", "neither")
        return item[0] if isinstance(item, (tuple, list)) else item

    def has_label(self, item: Any) -> bool:
        """Return whether the item has a label at this place."""
        return self.label is not None or (isinstance(item, (tuple, list)) and len(item) >= 2)

    def label_of(self, item: Any, index: int) -> Any:
        """Return the label. Raises DalError if the item has none."""
        if self.label is not None:
            return _at(item, self.label, index, "label")
        if not self.has_label(item):
            expected = "label=, the place of the label in the item, or labels= for all"
            if not isinstance(item, Mapping):
                expected = "an (image, label) pair, or labels= for all"
            raise bad_value(f"dataset[{index}]", expected, type(item).__name__)
        return item[1]


def _at(item: Any, key: Key, index: int, argument: str) -> Any:
    try:
        if isinstance(key, str) and not isinstance(item, Mapping):
            return getattr(item, key)
        return item[key]
    except (AttributeError, IndexError, KeyError, TypeError):
        has = type(item).__name__
        if isinstance(item, Mapping):
            has += " with " + ", ".join(repr(name) for name in item)
        elif isinstance(item, (tuple, list)):
            has += f" of {len(item)}"
        raise bad_value(argument, f"a key or position of dataset[{index}], a {has}", key) from None


def is_vector(label: object) -> bool:
    """Return whether a label is a row with one number per class."""
    if isinstance(label, (Tensor, np.ndarray)):
        return label.ndim == 1 and len(label) > 1
    return isinstance(label, (tuple, list)) and len(label) > 1


def class_of_one_hot(argument: str, label: Any, position: int) -> int:
    """Return the class of an exact one-hot row.

    Raises DalError for other rows, which are not a single class.

    >>> class_of_one_hot("labels", [0.0, 1.0], 0)
    1
    """
    try:
        row = torch.as_tensor(label)
    except (TypeError, ValueError, RuntimeError):
        row = torch.zeros(0)
    if row.ndim == 1 and int((row == 1).sum()) == 1 and int((row == 0).sum()) == len(row) - 1:
        return int((row == 1).nonzero()[0])
    shown = row.tolist() if len(row) else label
    expected = f"one class, as a number or a one-hot row, as the label of point {position}"
    raise bad_value(argument, f"{expected} (soft labels are not supported; task=MULTI_LABEL takes several)", shown)
