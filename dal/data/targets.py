"""Targets of training and testing: the labels of images, or their masks as far as they are bought."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from dal.data.images import ImageData
from dal.data.masks import checked_masks
from dal.tasks import IGNORED


class Targets(Protocol):
    """Interface of the images to train or test on, with what a model learns from them."""

    @property
    def images(self) -> Tensor:
        """(I,) int64: the images, each once."""
        ...

    def plain(self, images: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return the plain view of images, and their targets."""
        ...

    def augmented(self, images: Sequence[int], generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the augmented view of images, and their targets."""
        ...


class ClassTargets:
    """The labels of images."""

    def __init__(self, data: ImageData, indices: Tensor, labels: Tensor) -> None:
        self.data, self.images = data, indices
        self._labels = dict(zip(indices.tolist(), labels.tolist(), strict=True))

    def plain(self, images: Sequence[int]) -> tuple[Tensor, Tensor]:
        return self.data.plain(images), self._of(images)

    def augmented(self, images: Sequence[int], generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return self.data.augmented(images, generator), self._of(images)

    def _of(self, images: Sequence[int]) -> Tensor:
        return torch.tensor([self._labels[i] for i in images])


class MaskTargets:
    """The masks of images, with 255 (IGNORED) outside the units that are bought.

    ``points`` are units of the images.

    >>> from dal.data.images import TensorSource
    >>> from dal.data.masks import TensorMasks
    >>> from dal.tasks import SEGMENTATION
    >>> images, masks = torch.zeros(1, 1, 2, 4, dtype=torch.uint8), torch.ones(1, 2, 4, dtype=torch.uint8)
    >>> data = ImageData("toy", TensorSource(images), ["a"], torch.tensor([0]), ["sky", "sea"], [0.5], [0.5],
    ...                  task=SEGMENTATION, masks=TensorMasks(masks), region_size=2)
    >>> MaskTargets(data, torch.tensor([1])).masks([0]).tolist()
    [[[255, 255, 1, 1], [255, 255, 1, 1]]]
    """

    def __init__(self, data: ImageData, points: Tensor) -> None:
        self.data, per_image = data, data.units_per_image
        places: dict[int, int] = {}
        rows = [places.setdefault(image, len(places)) for image in data.images_of(points).tolist()]
        self.images = torch.tensor(list(places), dtype=torch.int64)
        self._places = places
        self._bought: Tensor | None = None
        if per_image > 1:
            self._bought = torch.zeros(len(places), per_image, dtype=torch.bool)
            self._bought[torch.tensor(rows, dtype=torch.int64), points % per_image] = True

    def plain(self, images: Sequence[int]) -> tuple[Tensor, Tensor]:
        return self.data.plain(images), self.masks(images).long()

    def augmented(self, images: Sequence[int], generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return augmented images and masks, or the plain ones if no bought pixel is left in any of them."""
        masks = self.masks(images)
        moved = self.data.augmented_pairs(images, masks, generator)
        if bool((moved[1] == IGNORED).all()):
            return self.data.plain(images), masks.long()
        return moved[0], moved[1].long()

    def masks(self, images: Sequence[int]) -> Tensor:
        """Return (B, H, W) uint8 masks. Raises DalError for masks of another size and for unknown classes."""
        assert self.data.masks is not None
        units = self.data.units
        masks = checked_masks(self.data.masks, images, units, self.data.num_classes, self.data.ids)
        if self._bought is None:
            return masks
        bought = self._bought[[self._places[image] for image in images]]
        visible = bought[:, units.of_pixels(units.height, units.width)]
        return masks.masked_fill(~visible, IGNORED)


def targets_of(data: ImageData, indices: Tensor, labels: Tensor) -> Targets:
    """Return the targets of points that are labeled."""
    return MaskTargets(data, indices) if data.task.is_dense else ClassTargets(data, indices, labels)
