"""Your own images without any label, for people to label (oracle=people)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import ClassVar

from dal.data.answered_masks import AnsweredMasks
from dal.data.augment import Compose, HorizontalFlip, RandomResizedCrop
from dal.data.grid import Grid
from dal.data.images import ImageData, ImageSplits, known_indices
from dal.data.sets.config import DataConfig
from dal.data.sets.image_folder import (
    FolderPixels,
    folder_data,
    numbers_of_test_set,
    separate_folder,
    some_images,
)
from dal.data.sets.mask_folder import MaskFolder
from dal.data.sets.photographs import MEAN, STD
from dal.data.sources.folder.decoding import read_images
from dal.data.sources.folder.gaps import NO_DIGEST, WithGaps
from dal.data.sources.folder.gone import FirstImages, gone_sentence, new_images_sentence
from dal.data.sources.folder.listing import existing_folder
from dal.data.sources.folder.names import check_class_names, check_listed_names, composed
from dal.errors import bad_value, unknown_choice
from dal.runtime.ranges import Ranges, whole
from dal.tasks import CLASSIFICATION, SEGMENTATION

_TASKS = (CLASSIFICATION.name, SEGMENTATION.name)


@dataclass
class UnlabeledFolder(DataConfig):
    """All images below ``root`` as points without a label, as uint8 (3, image_size, image_size).

    Subfolders have no meaning. The points are the image files in the order of their listing, so that an index is known
    before any image is decoded. An image that cannot be decoded is a point that nobody selects: a warning names it, and
    ``ImageData.set_aside`` contains the reason. Ids, cropping and augmentation are as in ImageFolder.

    ``test_root`` is a folder with a subfolder per class, for a test set with labels. Without it,
    ``campaign.test_size`` asks people for the labels of a test set. For ``task="segmentation"``, people draw masks, and
    ``test_root`` is a folder as MaskFolder reads it.

    Raises DalError if a folder is missing or has no image that can be decoded, for fewer than two classes, and for a
    variant of the pool.

    >>> UnlabeledFolder(root="photos", classes=["cat"])
    Traceback (most recent call last):
    dal.errors.DalError: data.classes: expected at least two class names, such as [cat,dog], got ['cat'].
    """

    ranges: ClassVar[Ranges] = DataConfig.ranges | {"image_size": whole(1, 4096)}

    root: str = ""
    """Folder of the images, with any subfolders."""
    classes: list[str] | None = None
    """Class names that people choose from, in order, such as [cat,dog]; null is no choice."""
    image_size: int = 64
    """Side length in pixels to which images are cropped and resized."""
    test_root: str | None = None
    """Folder of class subfolders with a test set, outside of root; null leaves it to campaign.test_size."""
    in_memory: bool | None = None
    """Whether to keep all pixels in memory; null does so if they take less than 1 GiB."""
    task: str = "classification"
    """What people answer: classification, a class of each image, or segmentation, a mask of an image or a region."""
    cache: str | None = None
    """Folder that keeps decoded pixels for later starts and runs; auto is ~/.cache/dal/images, null keeps none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.classes is not None:  # Hydra makes the configuration without values first
            self.classes = _checked_names(self.classes)
        if self.task not in _TASKS:
            raise unknown_choice("data.task", _TASKS, self.task)
        self._first: FirstImages | None = None

    def starting_with(self, first: FirstImages | None) -> UnlabeledFolder:
        """Return the configuration of a run that started with these images, which keep their indices.

        Images that are gone, or can no longer be decoded, are points without pixels. Others in the folder are no
        points. Warnings name both.
        """
        found = replace(self)
        found._first = first
        return found

    def read(self) -> ImageSplits:
        if self.classes is None:
            raise bad_value("data.classes", "at least two class names, such as [cat,dog]", None)
        for shared in fields(DataConfig):
            if self.task == SEGMENTATION.name and shared.name == "region_size":
                continue
            if getattr(self, shared.name) != shared.default and shared.name != "copy_noise":
                expected = f"{shared.default} with data=unlabeled_folder".replace("None", "null")
                raise bad_value(f"data.{shared.name}", expected, getattr(self, shared.name))
        root = existing_folder("data.root", self.root)
        test_root = None if self.test_root is None else separate_folder(root, self.test_root)
        files = some_images("data.root", root).files
        if self.task == SEGMENTATION.name:
            train = self._train(root, files, self.classes)
            masks = AnsweredMasks(len(train), Grid(self.image_size, self.image_size))
            train = replace(train, task=SEGMENTATION, masks=masks)
            return ImageSplits(train, None if test_root is None else self._test_masks(test_root, self.classes))
        of_test = None if test_root is None else numbers_of_test_set(test_root, self.classes)
        train = self._train(root, files, self.classes)
        if test_root is None or of_test is None:
            return ImageSplits(train, None)
        test = folder_data(test_root, list(of_test), of_test, self.classes, self._pixels, train.name)
        return ImageSplits(train, test)

    def _test_masks(self, test_root: Path, classes: Sequence[str]) -> ImageData:
        folder = MaskFolder(
            root=str(test_root),
            classes=list(classes),
            image_size=self.image_size,
            in_memory=self.in_memory,
            cache=self.cache,
            test_fraction=0.0,
        )
        test = folder.read().train
        return replace(test.subset(known_indices(test).tolist()), set_aside={}, first_frames=())

    @property
    def _pixels(self) -> FolderPixels:
        return FolderPixels(self.image_size, self.in_memory, self.cache)

    def _train(self, root: Path, listed: Sequence[str], classes: Sequence[str]) -> ImageData:
        by_id = {composed(file): file for file in listed}
        first = self._first or FirstImages(list(by_id))
        there = [id for id in first.ids if id in by_id]
        found = read_images(root, [by_id[id] for id in there], *self._pixels)
        place = {composed(file): position for position, file in enumerate(found.files)}
        if first.digests is None:
            never = set(first.ids) - set(place)
        else:
            # An image that could be decoded only later was never part of the run.
            never = {id for id, digest in zip(first.ids, first.digests, strict=True) if digest == NO_DIGEST}
        if self._first is not None:
            lost = [id for id in first.ids if id not in place and (id not in never or id not in by_id)]
            _warn_of_changes(root, first.ids, by_id, lost)
        files = [by_id.get(id, id) for id in first.ids]
        places = [None if id in never else place.get(id) for id in first.ids]
        reasons = found.set_aside
        return ImageData(
            name=root.resolve().name,
            source=WithGaps(found.source, places, root, files, first.digests),
            ids=list(first.ids),
            labels=CLASSIFICATION.unlabeled(len(files), len(classes)),
            classes=list(classes),
            mean=MEAN,
            std=STD,
            augmentation=Compose([RandomResizedCrop(scale=(0.6, 1.0)), HorizontalFlip()]),
            set_aside={
                id: reasons.get(_escaped(file), "it could not be decoded at the start of the run")
                for id, file in zip(first.ids, files, strict=True)
                if id in never
            },
            first_frames=[composed(file) for file in found.first_frames],
            files=[root / file for file in files],
        )


def _warn_of_changes(root: Path, ids: Sequence[str], by_id: Mapping[str, str], lost: Sequence[str]) -> None:
    """Warn about the images of a run that are gone, and about images that are not part of it."""
    if lost:
        warnings.warn(gone_sentence(root, lost), stacklevel=3)
    known = set(ids)
    if new := [id for id in by_id if id not in known]:
        warnings.warn(new_images_sentence(root, new), stacklevel=3)


def _checked_names(classes: Sequence[object]) -> list[str]:
    names = check_class_names(classes)
    if len(names) < 2:
        raise bad_value("data.classes", "at least two class names, such as [cat,dog]", list(classes))
    check_listed_names("data.classes", names)
    for name in names:
        if name.startswith("="):
            raise bad_value("data.classes", "names that do not begin with = (as =none and =skip do)", name)
    return names


def _escaped(file: str) -> str:
    return file.encode(errors="backslashreplace").decode()
