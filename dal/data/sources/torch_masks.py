"""Reads the masks of a Dataset whose items are (image, mask)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dal.data.image_sources import Marks
from dal.data.masks import MaskSource, TensorMasks, check_classes, mask_digest
from dal.data.sources.folder.decoding import MEMORY_LIMIT_BYTES
from dal.data.sources.folder.mask_numbers import class_numbers_of
from dal.data.sources.items import ItemKeys
from dal.errors import DalError, bad_content, bad_value
from dal.runtime.seeding import isolated_cpu_rng, seed_cpu_generators
from dal.tasks.base import UNKNOWN
from dal.tasks.segmentation import IGNORED


def dataset_masks(
    dataset: Any, masks: Sequence[Any] | Tensor | None, keys: ItemKeys, num_classes: int, size: tuple[int, int]
) -> tuple[MaskSource, Tensor]:
    """Return the masks of a dataset, and the (N,) labels: 0 with a mask and -1 without.

    A mask is a tensor or a NumPy array (H, W) of integers, or a PIL image. None is no mask. ``masks`` has one entry per
    point, by default that of each item. ``size`` is the height and width of the images. Every mask is read once. They
    are kept in memory if they take less than 1 GiB.

    Raises DalError for another size or type, for a value that is neither a class nor 255, and if there is no mask.
    """
    if masks is not None and len(masks) != len(dataset):
        raise bad_content("labels", f"one mask for each of the {len(dataset)} points", f"{len(masks)} masks")
    source = DatasetMasks(dataset, masks, keys, num_classes, size)
    count = len(source)
    in_memory = count * size[0] * size[1] < MEMORY_LIMIT_BYTES
    kept = torch.empty(count if in_memory else 0, *size, dtype=torch.uint8)
    labels = torch.full((count,), UNKNOWN, dtype=torch.int64)
    for index in range(count):
        mask = source.batch([index])[0]
        if bool((mask != IGNORED).any()):
            labels[index] = 0
        if in_memory:
            kept[index] = mask
        else:
            source.remember(index, mask)
    if bool((labels == UNKNOWN).all()):
        raise bad_content(source.argument, f"a mask with pixels other than {IGNORED}", "none")
    return TensorMasks(kept) if in_memory else source, labels


class DatasetMasks:
    """Reads masks of a Dataset with the global random generators seeded."""

    def __init__(
        self, dataset: Any, masks: Sequence[Any] | Tensor | None, keys: ItemKeys, num_classes: int, size: Sequence[int]
    ) -> None:
        self.dataset, self.masks, self.keys = dataset, masks, keys
        self.num_classes, self.size = num_classes, tuple(size)
        self.argument = "dataset" if masks is None else "labels"
        self._seen: dict[int, bytes] = {}

    def __len__(self) -> int:
        return len(self.dataset)

    def batch(self, indices: Sequence[int]) -> Tensor:
        return torch.stack([self._mask(int(index)) for index in indices])

    def remember(self, index: int, mask: Tensor) -> None:
        """Remember the content of a mask, for marks()."""
        self._seen[index] = mask_digest(mask)

    def marks(self, indices: Sequence[int]) -> Marks:
        return Marks([self._seen.get(int(index), b"") for index in indices])

    def _mask(self, index: int) -> Tensor:
        if self.masks is not None:
            value = self.masks[index]
        else:
            with isolated_cpu_rng():
                seed_cpu_generators(index)
                value = self.keys.label_of(self.dataset[index], index)
        if value is None:
            return torch.full(self.size, IGNORED, dtype=torch.uint8)
        argument = f"{self.argument}[{index}]"
        mask = as_mask(value, argument)
        if tuple(mask.shape) != self.size:
            height, width = self.size
            expected = f"a mask of {width} x {height} pixels like the image"
            raise bad_content(argument, expected, f"{mask.shape[1]} x {mask.shape[0]}")
        check_classes(mask, self.num_classes, argument)
        return mask.to(torch.uint8)


def as_mask(value: Any, argument: str) -> Tensor:
    """Return a mask as an (H, W) int64 tensor.

    Raises DalError, with ``argument``, for anything except integers in two dimensions, or with one channel.

    >>> as_mask(np.ones((1, 2, 3), dtype=bool), "dataset[0]").shape
    torch.Size([2, 3])
    """
    if isinstance(value, Image.Image):
        value = class_numbers_of(value, argument)
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "bui":
            raise _not_numbers(argument, str(value.dtype))
        value = torch.from_numpy(value.astype(np.int64))
    if not isinstance(value, Tensor):
        raise bad_value(argument, "a mask: a tensor, a PIL image, a NumPy array, or None", type(value).__name__)
    if value.is_floating_point() or value.is_complex():
        raise _not_numbers(argument, str(value.dtype).removeprefix("torch."))
    mask = value.as_subclass(Tensor).squeeze(0) if value.ndim == 3 else value.as_subclass(Tensor)
    if mask.ndim != 2:
        raise bad_content(argument, "a mask (H, W) or (1, H, W)", f"{tuple(value.shape)}")
    return mask.long()


def _not_numbers(argument: str, dtype: str) -> DalError:
    expected = "a mask of integers (ToTensor divides masks by 255; PILToTensor keeps class numbers)"
    return bad_content(argument, expected, dtype)
