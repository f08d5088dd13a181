"""Your own images without any label, for people to label (oracle=people)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import ClassVar

import torch
from torch import Tensor

from dal.data.augment import Compose, HorizontalFlip, RandomResizedCrop
from dal.data.images import DIGEST_BYTES, ImageData, ImageSource, ImageSplits, image_digests
from dal.data.sets.config import DataConfig
from dal.data.sets.image_folder import folder_data, numbers_of_test_set, separate_folder, some_images
from dal.data.sets.photographs import MEAN, STD
from dal.data.sources.folder.decoding import read_images
from dal.data.sources.folder.listing import existing_folder
from dal.data.sources.folder.names import check_class_names, check_listed_names, composed
from dal.errors import bad_value
from dal.runtime.ranges import Ranges, whole
from dal.tasks import CLASSIFICATION


@dataclass
class UnlabeledFolder(DataConfig):
    """All images below ``root`` as points without a label, as uint8 (3, image_size, image_size).

    Subfolders have no meaning. The points are the image files in the order of their listing, so that an index is known
    before any image is decoded. An image that cannot be decoded is a point that nobody selects: a warning names it, and
    ``ImageData.set_aside`` contains the reason. Ids, cropping and augmentation are as in ImageFolder.

    ``test_root`` is a folder with a subfolder per class, for a test set with labels. Without it,
    ``campaign.test_size`` asks people for the labels of a test set.

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

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.classes is not None:  # Hydra makes the configuration without values first
            self.classes = _checked_names(self.classes)

    def read(self) -> ImageSplits:
        if self.classes is None:
            raise bad_value("data.classes", "at least two class names, such as [cat,dog]", None)
        for shared in fields(DataConfig):
            if getattr(self, shared.name) != shared.default and shared.name != "copy_noise":
                expected = f"{shared.default} with data=unlabeled_folder".replace("None", "null")
                raise bad_value(f"data.{shared.name}", expected, getattr(self, shared.name))
        root = existing_folder("data.root", self.root)
        test_root = None if self.test_root is None else separate_folder(root, self.test_root)
        files = some_images("data.root", root).files
        of_test = None if test_root is None else numbers_of_test_set(test_root, self.classes)
        source, readable, reasons, first_frames = read_images(root, files, self.image_size, self.in_memory)
        place = {file: position for position, file in enumerate(readable)}
        train = ImageData(
            name=root.resolve().name,
            source=WithGaps(source, [place.get(file) for file in files]),
            ids=[composed(file) for file in files],
            labels=CLASSIFICATION.unlabeled(len(files), len(self.classes)),
            classes=list(self.classes),
            mean=MEAN,
            std=STD,
            augmentation=Compose([RandomResizedCrop(scale=(0.6, 1.0)), HorizontalFlip()]),
            set_aside={composed(file): reasons[_escaped(file)] for file in files if file not in place},
            first_frames=[composed(file) for file in first_frames],
        )
        if test_root is None or of_test is None:
            return ImageSplits(train, None)
        test = folder_data(test_root, list(of_test), of_test, self.classes, self.image_size, self.in_memory, train.name)
        return ImageSplits(train, test)


class WithGaps:
    """Images of another source, with black images where a place is None.

    >>> from dal.data.images import TensorSource
    >>> white = TensorSource(torch.full((1, 3, 2, 2), 255, dtype=torch.uint8))
    >>> WithGaps(white, [None, 0]).batch([0, 1]).amax(dim=(1, 2, 3)).tolist()
    [0, 255]
    """

    def __init__(self, source: ImageSource, places: Sequence[int | None]) -> None:
        self.source, self.places = source, list(places)

    def __len__(self) -> int:
        return len(self.places)

    def batch(self, indices: Sequence[int]) -> Tensor:
        places = [self.places[int(index)] for index in indices]
        if None not in places:
            return self.source.batch([place for place in places if place is not None])
        # A source without images cannot be, so its first image gives the shape.
        known = self.source.batch([0 if place is None else place for place in places])
        known = known.clone()
        known[torch.tensor([place is None for place in places])] = 0
        return known

    def digests(self, indices: Sequence[int]) -> list[bytes] | None:
        there = [place for index in indices if (place := self.places[int(index)]) is not None]
        found = image_digests(self.source, there)
        if found is None:
            return None
        rest = iter(found)
        return [bytes(DIGEST_BYTES) if self.places[int(index)] is None else next(rest) for index in indices]


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
