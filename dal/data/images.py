"""ImageData: images with stable ids and labels, in two views.

Scoring and testing use the plain view. Training uses the augmented view. An index is a position in the data set. An id
is the name shown to users.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from dal.data.answered_masks import AnsweredMasks
from dal.data.augment_masks import augment_pair
from dal.data.fingerprint import Fingerprint, Identity, fingerprint
from dal.data.image_sources import (
    DIGEST_BYTES,
    AugmentedSource,
    ImageSource,
    SubsetAugmentedSource,
    SubsetSource,
    TensorSource,
    image_digests,
)
from dal.data.masks import ClassUnits, MaskSource, check_masks
from dal.data.normalization import check_statistics, halved, normalized
from dal.data.sources.folder.names import check_listed_names
from dal.data.units import UnitIds, Units
from dal.errors import bad_value
from dal.tasks import CLASSIFICATION, Task

__all__ = [
    "DIGEST_BYTES",
    "Augmentation",
    "AugmentedSource",
    "ImageData",
    "ImageSource",
    "ImageSplits",
    "SubsetAugmentedSource",
    "SubsetSource",
    "TensorSource",
    "image_digests",
    "known_indices",
]

Augmentation = Callable[[Tensor, torch.Generator], Tensor]
"""Maps (B, C, H, W) images and a CPU generator to images of the same shape and dtype."""


@dataclass(frozen=True, eq=False)
class ImageData:
    """Images of one split, with their labels and task.

    For classification, ``labels`` is (N,) int64 with class numbers, -1 (UNKNOWN) for unknown labels, and -2
    (OUT_OF_CLASS) for images that belong to none of the classes. ``classes`` are the class names. ``set_aside`` maps
    images that cannot be decoded to the reasons. One whose id is among ``ids`` is a point that no model reads. Others
    are no points. ``first_frames`` are the ids of images with several frames, of which only the first is used.
    ``files`` are the files whose center square is the image, or None for images that are not read from files.

    For segmentation, ``masks`` has a mask for each image, and a label is 0 with a mask and -1 without. A point of the
    pool is then a unit of an image: a region of ``region_size`` x ``region_size`` pixels, or the image if it is None.
    Points are numbered by image and then by unit. For other tasks, the points are the images.

    ``datamodule`` is the LightningDataModule that the data come from, if any. Copies in other processes do not have it.

    With ``is_half_size``, all views have images of half the size, after augmentation and normalization. With
    ``assumes_statistics``, nobody has chosen ``mean`` and ``std``.

    Raises DalError if ids or class names repeat, if a class name is empty, if lengths differ, if a label is not a
    class, or if ``mean`` or ``std`` cannot normalize.

    >>> data = ImageData("toy", TensorSource(torch.zeros(2, 1, 8, 8, dtype=torch.uint8)), ["a", "b"],
    ...                  torch.tensor([0, -1]), ["cat", "dog"], mean=[0.5], std=[0.5])
    >>> data.plain([0, 1]).shape, data.num_classes
    (torch.Size([2, 1, 8, 8]), 2)
    """

    name: str
    source: ImageSource
    ids: Sequence[str]
    labels: Tensor
    classes: Sequence[str]
    mean: Sequence[float] = ()
    std: Sequence[float] = ()
    augmentation: Augmentation | None = None
    augmented_source: AugmentedSource | None = None
    set_aside: Mapping[str, str] = field(default_factory=dict)
    task: Task = CLASSIFICATION
    first_frames: Sequence[str] = ()
    masks: MaskSource | None = None
    region_size: int | None = None
    files: Sequence[Path] | None = None
    is_half_size: bool = False
    datamodule: object = None
    assumes_statistics: bool = False

    def __post_init__(self) -> None:
        count = len(self.source)
        if len(self.ids) != count:
            raise bad_value("ids", f"one for each of the {count} images", len(self.ids))
        if self.files is not None and len(self.files) != count:
            raise bad_value("files", f"one for each of the {count} images", len(self.files))
        if len(set(self.ids)) != count:
            raise bad_value("ids", "each id once", Counter(self.ids).most_common(1)[0][0])
        if len(self.classes) < 2:
            raise bad_value("classes", "at least two classes", list(self.classes))
        check_listed_names("classes", self.classes)
        if not isinstance(self.labels, Tensor):
            raise bad_value("labels", "a tensor", type(self.labels).__name__)
        check_statistics(self.mean, self.std)
        self.task.check(self.labels, count, len(self.classes))
        check_masks(self.masks, self.labels, self.task)
        if self.region_size is not None and not self.task.is_dense:
            raise bad_value("region_size", "None unless task=SEGMENTATION", self.region_size)

    def __getstate__(self) -> dict[str, object]:
        # Workers do not need the datamodule, which may hold what cannot be pickled.
        return {name: value for name, value in vars(self).items() if name != "datamodule"}

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @cached_property
    def units(self) -> Units:
        """The units of an image."""
        return Units(*self.image_shape[1:], self.region_size)

    @cached_property
    def _class_units(self) -> ClassUnits | None:
        return None if self.masks is None else ClassUnits(self.masks, self.units, self.num_classes, self.ids)

    @property
    def units_per_image(self) -> int:
        """The number of points of an image."""
        return 1 if self.region_size is None else len(self.units)

    @property
    def num_points(self) -> int:
        """The number of points of the pool: images, or their regions."""
        return len(self) * self.units_per_image

    @property
    def point_ids(self) -> Sequence[str]:
        """The ids of the points, such as ``street/17.png#r3,c5`` for a region."""
        return self.ids if self.units_per_image == 1 else UnitIds(self.ids, self.units)

    @property
    def label_like(self) -> Tensor:
        """Labels of no images, (0, ...), with the shape and dtype of those that training_step takes."""
        if not self.task.is_dense:
            return self.labels[:0]
        return torch.zeros(0, self.units.height, self.units.width, dtype=torch.int64)

    def whole(self) -> ImageData:
        """Return the same data with images as points."""
        return self if self.region_size is None else self.in_units(None)

    def in_units(self, region_size: int | None) -> ImageData:
        """Return the same data with regions of this size as points, or with images for None."""
        found = replace(self, region_size=region_size)
        if isinstance(self.masks, AnsweredMasks):
            return replace(found, masks=self.masks.with_grid(found.units))
        return found

    def images_of(self, points: Tensor) -> Tensor:
        """Return the (B,) images of points."""
        return points if self.units_per_image == 1 else points // self.units_per_image

    def points_of(self, images: Iterable[int]) -> list[int]:
        """Return all points of images."""
        per_image = self.units_per_image
        return [image * per_image + unit for image in images for unit in range(per_image)]

    @property
    def unreadable(self) -> list[int]:
        """The images that cannot be decoded."""
        if not self.set_aside:
            return []
        return [index for index, image in enumerate(self.ids) if image in self.set_aside]

    @property
    def gaps(self) -> set[int]:
        """The images without pixels: those that are unreadable, and those that have disappeared since the start."""
        if not hasattr(self.source, "gaps"):
            return set(self.unreadable)
        found: set[int] = self.source.gaps
        return found

    def missing(self, indices: Sequence[int]) -> list[int]:
        """Return those of the images that cannot be read now."""
        if hasattr(self.source, "missing"):
            found: list[int] = self.source.missing(indices)
            return found
        unreadable = set(self.unreadable)
        return [index for index in indices if index in unreadable]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """The shape (C, H, W) of the first image."""
        channels, height, width = self.plain([0]).shape[1:]
        return channels, height, width

    @cached_property
    def at_half_size(self) -> ImageData:
        """The same data with images of half the size."""
        return self if self.is_half_size else replace(self, is_half_size=True)

    @property
    def statistics(self) -> tuple[Sequence[float], Sequence[float]] | None:
        """Mean and standard deviation of the pixels, or None for normalized images."""
        return (self.mean, self.std) if self.source.batch([0]).dtype == torch.uint8 else None

    def plain(self, indices: Sequence[int]) -> Tensor:
        """Return (B, C, H, W) float32 images, normalized and without augmentation."""
        return self.normalized(self.source.batch(indices))

    def augmented(self, indices: Sequence[int], generator: torch.Generator) -> Tensor:
        """Return (B, C, H, W) float32 images, first augmented, then normalized.

        All randomness comes from the generator.
        """
        if self.augmented_source is not None:
            images = self.augmented_source.augmented_batch(indices, generator)
        else:
            images = self.source.batch(indices)
        if self.augmentation is not None:
            images = self.augmentation(images, generator)
        return self.normalized(images)

    def augmented_pairs(
        self, indices: Sequence[int], masks: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return images as augmented() does, and their (B, H, W) ``masks`` with the same flips and crops."""
        images, masks = augment_pair(self.augmentation, self.source.batch(indices), masks, generator)
        return self.normalized(images), masks

    def normalized(self, images: Tensor) -> Tensor:
        """Return images of the source as plain() does, on the device on which they are."""
        images = normalized(images, self.mean, self.std)
        return halved(images) if self.is_half_size else images

    def subset(self, indices: Sequence[int]) -> ImageData:
        """Return only these points, renumbered from 0, with their ids."""
        wanted = torch.as_tensor(indices, dtype=torch.int64)
        return replace(
            self,
            source=SubsetSource(self.source, wanted.tolist()),
            augmented_source=self.augmented_source and SubsetAugmentedSource(self.augmented_source, wanted.tolist()),
            ids=[self.ids[i] for i in wanted.tolist()],
            labels=self.labels[wanted],
            masks=None if self.masks is None else SubsetSource(self.masks, wanted.tolist()),
            files=None if self.files is None else [self.files[i] for i in wanted.tolist()],
        )

    def trainable(self, points: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the (L,) indices and labels that training can use.

        Units of only ignored pixels are left out, because a batch of them has no loss.
        """
        indices, labels = points
        inside = self.task.trainable(labels)
        if self._class_units is not None:
            inside = inside & self._class_units(indices)
        if gaps := self.gaps:
            images = self.images_of(indices).tolist()
            inside = inside & torch.tensor([image not in gaps for image in images], dtype=torch.bool)
        return indices[inside], labels[inside]

    def fingerprint(self) -> Fingerprint:
        """Return digests that identify the data. See dal.data.fingerprint.fingerprint()."""
        return fingerprint(self.identity)

    @property
    def identity(self) -> Identity:
        """The digests of the ids, labels and images."""
        return Identity(self.ids, self.labels, self.classes, self.task, self.source, self.masks)


def known_indices(data: ImageData) -> Tensor:
    """Return (M,) int64 positions of points that can be tested on."""
    return data.task.known(data.labels).nonzero().flatten()


class ImageSplits(NamedTuple):
    """A training set, whose points are the pool, and a test set.

    Test images are never trained on or selected.
    """

    train: ImageData
    test: ImageData | None

    def fingerprint(self) -> Fingerprint:
        """Return digests that identify both sets. See dal.data.fingerprint.fingerprint()."""
        return fingerprint(self.train.identity, [None if self.test is None else self.test.identity])
