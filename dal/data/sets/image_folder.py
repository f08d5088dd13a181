"""Your own images, labeled by subfolders or a CSV file."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from dal.data.augment import Compose, HorizontalFlip, RandomResizedCrop
from dal.data.images import ImageData, ImageSplits
from dal.data.sets.config import DataConfig
from dal.data.sets.photographs import MEAN, STD
from dal.data.sources.folder.csv_labels import MISSING, csv_label_column, csv_label_sets, csv_labels
from dal.data.sources.folder.decoding import read_images
from dal.data.sources.folder.listing import Listing, class_numbers, existing_folder, folder_labels, list_images
from dal.data.sources.folder.names import check_class_names, check_distinct, composed
from dal.data.sources.split import split_by_id
from dal.errors import DalError, bad_content, bad_value
from dal.runtime.ranges import Range, Ranges, whole
from dal.runtime.user_paths import user_path
from dal.tasks import CLASSIFICATION, MULTI_LABEL, Task
from dal.tasks.base import UNKNOWN

_TRAIN = {"train", "training"}
_SPLITS = _TRAIN | {"dev", "eval", "evaluation", "test", "testing", "val", "valid", "validation"}


@dataclass
class ImageFolder(DataConfig):
    """Images below ``root``, as uint8 (3, image_size, image_size).

    Each image is cropped to its center square and resized. An id is the path relative to root, with forward slashes and
    in Unicode's composed form.

    Without ``csv``, the subfolders of root that contain images are the classes, in sorted order. Images in nested
    folders belong to the class of the first folder. Images directly in root have no label. With ``csv``, the labels in
    the file are the classes, sorted as text, and images that are not in the file have no label. All images without a
    label are points of the pool.

    Without ``test_root``, a hash of the id determines whether a labeled image is in the test set, so new images never
    move others. With ``test_root``, the class subfolders of that folder are the test set, and root is the pool.

    An image that cannot be decoded is not a point. A warning names it, and ``ImageData.set_aside`` contains the reason.
    Other warnings count the files that are not images, and the images with several frames or pages, of which only the
    first is used (see ``ImageData.first_frames``). The augmentation is a horizontal flip and a random crop of 0.6 to 1
    of the area.

    Raises DalError if a folder or the CSV file is missing, empty or malformed, or does not fit the classes. Also raises
    it if two class names look the same, if fewer than two classes are known, if no image is labeled, or if a split
    would be empty.

    >>> from dal.data import load
    >>> load(ImageFolder(root="no/such/folder"))
    Traceback (most recent call last):
    dal.errors.DalError: data.root: expected an existing folder of images, got 'no/such/folder'.
    """

    ranges: ClassVar[Ranges] = DataConfig.ranges | {
        "test_fraction": Range(0, 1, "a share", below=True),
        "image_size": whole(1, 4096),
    }

    root: str = ""
    """Folder of the images, with a subfolder per class unless data.csv is set."""
    csv: str | None = None
    """CSV file with the columns id (path relative to root) and label (may be empty), or labels (classes separated by
    semicolons) for multi-label data; null takes classes from subfolders."""
    test_root: str | None = None
    """Folder of class subfolders with the test set, outside of root; null takes test images from root."""
    test_fraction: float = 0.2
    """Share of the labeled images that become the test set if test_root is null."""
    image_size: int = 64
    """Side length in pixels to which images are cropped and resized."""
    in_memory: bool | None = None
    """Whether to keep all pixels in memory; null does so if they take less than 1 GiB."""
    cache: str | None = None
    """Folder that keeps decoded pixels for later starts and runs; auto is ~/.cache/dal/images, null keeps none."""
    classes: list[str] | None = None
    """Class names in order, including classes without images; null uses the classes that occur."""

    def read(self) -> ImageSplits:
        root = existing_folder("data.root", self.root)
        test_root = None if self.test_root is None else separate_folder(root, self.test_root)
        listing = some_images("data.root", root, self.csv is None, None if self.csv is None else self._csv_path())
        splits = {file.split("/", 1)[0] for file in listing.files if file.count("/") > 1}
        kinds = {name.lower() for name in splits}
        if self.csv is None and self.classes is None and _TRAIN & kinds and kinds <= _SPLITS and len(splits) > 1:
            expected = "class subfolders (splits are given as data.root=.../train data.test_root=.../test)"
            raise bad_value("data.root", expected, sorted(splits))
        if self.csv is not None and csv_label_column(self._csv_path()) == "labels":
            return self._read_multi_label(listing)
        files = listing.files
        names = folder_labels(files) if self.csv is None else csv_labels(self._csv_path(), files, listing.reason)
        classes = self._classes(root, set(names.values()))
        numbers = class_numbers("data.root" if self.csv is None else "data.csv", names, classes)
        of_test = None if test_root is None else numbers_of_test_set(test_root, classes)
        data = self._data(root, files, numbers, classes)
        if bool((data.labels == UNKNOWN).all()):
            raise DalError(f"data.root: expected a labeled image that can be decoded, got none in {root}.")
        if test_root is not None and of_test is not None:
            return ImageSplits(data, self._data(test_root, list(of_test), of_test, classes))
        return split_by_id(data, self.test_fraction)

    def _csv_path(self) -> Path:
        assert self.csv is not None
        if "\0" in self.csv:
            raise bad_value("data.csv", "a path without a NUL character", self.csv)
        return user_path(self.csv)

    def _read_multi_label(self, listing: Listing) -> ImageSplits:
        """Return multi-label images, with classes from the CSV column ``labels``."""
        if self.test_root is not None:
            raise bad_value("data.test_root", "null if images have several labels", self.test_root)
        names = csv_label_sets(self._csv_path(), listing.files, listing.reason)
        classes = self._classes(listing.root, {name for several in names.values() for name in several})
        position = {name: number for number, name in enumerate(classes)}
        for image, several in names.items():
            if unknown := sorted(set(several) - set(classes)):
                raise bad_value(
                    "data.csv", f"labels of {image} among the classes {', '.join(classes[:10])}", unknown[0]
                )
        numbers = {image: tuple(position[name] for name in several) for image, several in names.items()}
        return split_by_id(self._data(listing.root, listing.files, numbers, classes, MULTI_LABEL), self.test_fraction)

    def _classes(self, root: Path, names: Collection[str]) -> list[str]:
        """Return the given class names, or the names that occur."""
        found = sorted(names)
        argument = "data.root" if self.csv is None else "data.csv"
        if self.csv is not None and not found:
            raise bad_content("data.csv", "at least one labeled image", f"only empty labels in {self.csv!r}")
        if self.classes is not None:
            given = check_class_names(self.classes)
            if len(given) < 2 or len(set(given)) < len(given):
                raise bad_value("data.classes", "at least two different class names", list(self.classes))
            if not found:
                raise bad_value("data.root", "at least one class subfolder with an image", str(root))
            check_distinct("data.classes", given, listed=given)
            return given
        if self.csv is None and (missing := [name for name in found if name.lower() in MISSING]):
            warnings.warn(
                f"data.root: the folder {missing[0]!r} is read as a class. Images directly in {root} have no label.",
                stacklevel=4,
            )
        if self.csv is None and {name.lower() for name in found} <= _SPLITS:
            warnings.warn(
                f"data.root: the folders {' and '.join(map(repr, found[:2]))} are read as classes. For a test set, use "
                "data.test_root.",
                stacklevel=4,
            )
        check_distinct(argument, found)
        if len(found) < 2:
            what = "class subfolders with images" if self.csv is None else "different labels"
            raise bad_value(argument, f"at least two {what} (or classes=)", found)
        return found

    def _data(
        self,
        root: Path,
        files: Sequence[str],
        numbers: Mapping[str, Any],
        classes: Sequence[str],
        task: Task = CLASSIFICATION,
    ) -> ImageData:
        name = root.resolve().name
        pixels = FolderPixels(self.image_size, self.in_memory, self.cache)
        return folder_data(root, files, numbers, classes, pixels, name, task)


def unlabeled_folder(
    root: str,
    *,
    image_size: int,
    classes: Sequence[str],
    name: str = "folder",
    in_memory: bool | None = None,
    cache: str | None = None,
) -> ImageData:
    """Return all images in a folder tree as points without labels.

    A model of these classes can then rank them. Ids, sizes, normalization and the treatment of damaged files are as in
    ImageFolder.

    Raises DalError if the folder is missing or contains no image that can be decoded.

    >>> unlabeled_folder("no/such/folder", image_size=64, classes=["cat", "dog"])
    Traceback (most recent call last):
    dal.errors.DalError: root: expected an existing folder of images, got 'no/such/folder'.
    """
    folder = existing_folder("root", root)
    pixels = FolderPixels(image_size, in_memory, cache)
    return folder_data(folder, some_images("root", folder).files, {}, classes, pixels, name)


class FolderPixels(NamedTuple):
    """How the images of a folder are read, as in read_images()."""

    image_size: int
    in_memory: bool | None = None
    cache: str | None = None


def folder_data(
    root: Path,
    files: Sequence[str],
    numbers: Mapping[str, Any],
    classes: Sequence[str],
    pixels: FolderPixels,
    name: str,
    task: Task = CLASSIFICATION,
) -> ImageData:
    """Return the images of a folder that can be decoded. ``numbers`` are the labels of some of the files."""
    source, readable, set_aside, first_frames = read_images(root, files, *pixels)
    labels = task.unlabeled(len(readable), len(classes))
    labeled = [place for place, file in enumerate(readable) if file in numbers]
    labels[labeled] = task.encode([numbers[readable[place]] for place in labeled], len(classes))
    return ImageData(
        name=name,
        source=source,
        ids=[composed(file) for file in readable],
        labels=labels,
        classes=list(classes),
        mean=MEAN,
        std=STD,
        augmentation=Compose([RandomResizedCrop(scale=(0.6, 1.0)), HorizontalFlip()]),
        set_aside=set_aside,
        first_frames=[composed(file) for file in first_frames],
        task=task,
        files=[root / file for file in readable],
    )


def separate_folder(root: Path, test_root: str) -> Path:
    """Return the test folder.

    Raises DalError if one folder contains the other, because the pool would include test images.
    """
    folder = existing_folder("data.test_root", test_root)
    real, real_root = folder.resolve(), root.resolve()
    if real.is_relative_to(real_root) or real_root.is_relative_to(real):
        raise bad_value("data.test_root", f"a folder that is not inside the root {root} or around it", test_root)
    return folder


def some_images(argument: str, root: Path, classes: bool = False, csv: Path | None = None) -> Listing:
    """List the images, and warn about skipped files except the CSV file.

    Raises DalError if there is no image.
    """
    listing = list_images(root, argument)
    if csv is not None:
        listing.ignore(csv)
    if not listing.files:
        left_out = f" (skipped: {listing.summary()})" if listing.left_out else ""
        raise bad_content(argument, "a folder tree with images", f"none in {str(root)!r}{left_out}")
    listing.warn(classes)
    return listing


def numbers_of_test_set(test_root: Path, classes: Sequence[str]) -> dict[str, int]:
    """Return the class number of each image of a test folder, which has a subfolder per class."""
    names = folder_labels(some_images("data.test_root", test_root, classes=True).files, "data.test_root")
    if not names:
        found = f"only images without a class in {str(test_root)!r}"
        raise bad_content("data.test_root", "class subfolders with images", found)
    return class_numbers("data.test_root", names, classes)
