"""Masks: the class number of each pixel, 255 for ignored pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from dal.data.image_sources import DIGEST_BYTES, image_digests
from dal.data.sources.folder.mask_numbers import check_numbers
from dal.data.units import Units
from dal.errors import bad_content, bad_value
from dal.tasks import IGNORED, Task
from dal.tasks.segmentation import Segmentation

_BLOCK = 64  # masks in memory at a time


class MaskSource(Protocol):
    """Interface of mask sources such as tensors and folders.

    A source can define ``digests(indices) -> list[bytes] | None``, which returns a digest of the content of each mask.
    A resumed run then detects changed masks. The mask of an image without labels is 255 everywhere.
    """

    def __len__(self) -> int: ...

    def batch(self, indices: Sequence[int]) -> Tensor:
        """Return (B, H, W) uint8 class numbers, 255 for ignored pixels."""
        ...


class TensorMasks:
    """Keeps masks in memory as one uint8 tensor.

    ``digests`` identify the content of the masks. By default, they are computed from the class numbers.

    Raises DalError unless the masks are uint8 (N, H, W).

    >>> TensorMasks(torch.zeros(5, 8, 8, dtype=torch.uint8)).batch([4, 0]).shape
    torch.Size([2, 8, 8])
    """

    def __init__(self, masks: Tensor, digests: Sequence[bytes] | None = None) -> None:
        if masks.dtype != torch.uint8 or masks.ndim != 3:
            raise bad_content("masks", "a uint8 tensor (N, H, W)", f"{masks.dtype} {tuple(masks.shape)}")
        self.masks, self._digests = masks, digests

    def __len__(self) -> int:
        return len(self.masks)

    def batch(self, indices: Sequence[int]) -> Tensor:
        return self.masks[torch.as_tensor(indices, dtype=torch.int64)]

    def digests(self, indices: Sequence[int]) -> list[bytes]:
        if self._digests is not None:
            return [self._digests[index] for index in indices]
        return [mask_digest(self.masks[index]) for index in indices]


class NoMasks:
    """The masks of images without labels: 255 everywhere.

    >>> NoMasks(3, 8, 4).batch([2]).shape
    torch.Size([1, 8, 4])
    """

    def __init__(self, count: int, height: int, width: int) -> None:
        self.count, self.height, self.width = count, height, width

    def __len__(self) -> int:
        return self.count

    def batch(self, indices: Sequence[int]) -> Tensor:
        return torch.full((len(indices), self.height, self.width), IGNORED, dtype=torch.uint8)


class RenumberedMasks:
    """The masks of another source, in which the class ``into[number]`` replaces each class.

    >>> RenumberedMasks(TensorMasks(torch.tensor([[[0, 1, 255]]], dtype=torch.uint8)), [0, 0]).batch([0]).tolist()
    [[[0, 0, 255]]]
    """

    def __init__(self, source: MaskSource, into: Sequence[int]) -> None:
        self.source, self._table = source, renumbering(into)

    def __len__(self) -> int:
        return len(self.source)

    def batch(self, indices: Sequence[int]) -> Tensor:
        return self._table[self.source.batch(indices).long()]


def renumbering(into: Sequence[int]) -> Tensor:
    """Return (256,) uint8: the class that replaces each value of a mask. Other values stay."""
    table = torch.arange(256, dtype=torch.uint8)
    table[: len(into)] = torch.tensor(into, dtype=torch.uint8)
    return table


def mask_digest(mask: Tensor) -> bytes:
    """Return a digest of the class numbers of a mask."""
    content = mask.numpy(force=True)
    return hashlib.blake2b(repr(content.shape).encode() + content.tobytes(), digest_size=DIGEST_BYTES).digest()


def masks_in_words(source: MaskSource, known: Sequence[bool]) -> list[str]:
    """Return ``unlabeled`` or ``mask`` for each image, the latter with the mask's digest.

    >>> masks_in_words(TensorMasks(torch.zeros(2, 1, 1, dtype=torch.uint8)), [True, False])
    ['mask cdcf33b3720f4c4e', 'unlabeled']
    """
    digests = image_digests(source, range(len(source)))
    names = ["mask"] * len(source) if digests is None else [f"mask {digest.hex()}" for digest in digests]
    return [name if is_known else "unlabeled" for name, is_known in zip(names, known, strict=True)]


def check_masks(masks: MaskSource | None, labels: Tensor, task: Task) -> None:
    """Raise DalError if masks, labels and task do not fit each other."""
    is_segmentation = task.name == Segmentation.name
    if masks is None and is_segmentation and bool(task.known(labels).any()):
        raise bad_content("masks", "the masks of images whose label is 0", "none")
    if masks is not None and not is_segmentation:
        raise bad_value("masks", "none unless task=SEGMENTATION", type(masks).__name__)
    if masks is not None and len(masks) != len(labels):
        raise bad_value("masks", f"one for each of the {len(labels)} images", len(masks))


def checked_masks(
    source: MaskSource, images: Sequence[int], units: Units, num_classes: int, ids: Sequence[str]
) -> Tensor:
    """Return (B, H, W) uint8 masks.

    Raises DalError for masks of another size than the images, and for a value that is neither a class nor 255.
    """
    masks = source.batch(images)
    if masks.shape[1:] != (units.height, units.width):
        expected = f"the size of the images, {units.height} x {units.width}"
        raise bad_content("masks", expected, " x ".join(map(str, masks.shape[1:])))
    if bool(((masks >= num_classes) & (masks != IGNORED)).any()):
        for image, mask in zip(images, masks, strict=True):
            check_classes(mask, num_classes, f"mask of {ids[image]!r}")
    return masks


class ClassUnits:
    """Which units of images have a pixel of a class.

    The others have only ignored pixels, which train nothing. Each mask is read once, when it is needed first, and again
    after its source has another ``version``, as when people have answered.
    """

    def __init__(self, source: MaskSource, units: Units, num_classes: int, ids: Sequence[str]) -> None:
        self._source, self._units, self._num_classes, self._ids = source, units, num_classes, ids
        self._is_read = torch.zeros(len(source), dtype=torch.bool)
        self._found = torch.zeros(len(source), len(units), dtype=torch.bool)
        self._version = getattr(source, "version", 0)

    def __call__(self, points: Tensor) -> Tensor:
        """Return (P,) bool for points, which are units numbered by image and then by unit."""
        if (version := getattr(self._source, "version", 0)) != self._version:
            self._version = version
            self._is_read.fill_(False)
            self._found.fill_(False)
        images = torch.unique(points // len(self._units))
        of_pixels = self._units.of_pixels(self._units.height, self._units.width)
        for block in images[~self._is_read[images]].split(_BLOCK):
            masks = checked_masks(self._source, block.tolist(), self._units, self._num_classes, self._ids)
            places, y, x = (masks != IGNORED).nonzero(as_tuple=True)
            self._found[block[places], of_pixels[y, x]] = True
            self._is_read[block] = True
        return self._found.flatten()[points]


def check_classes(mask: Tensor, num_classes: int, argument: str) -> None:
    """Raise DalError, with ``argument``, for a value that is neither a class nor 255.

    >>> check_classes(torch.tensor([[0, 7]]), 2, "masks/1.png")
    Traceback (most recent call last):
    dal.errors.DalError: masks/1.png: expected class numbers from 0 to 1, or 255 for ignored pixels, got 7 at x=1, y=0.
    """
    check_numbers(mask.numpy(force=True), num_classes, argument)
