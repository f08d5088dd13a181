"""Your own images, labeled by subfolders or a CSV file."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from dal.data.augment import Compose, HorizontalFlip, RandomResizedCrop
from dal.data.images import ImageData, ImageSplits
from dal.data.sets.config import DataConfig
from dal.data.sources.decoding import read_images
from dal.data.sources.listing import (
    class_numbers,
    csv_label_column,
    csv_label_sets,
    csv_labels,
    existing_folder,
    folder_labels,
    image_files,
)
from dal.data.sources.split import split_by_id
from dal.errors import DalError, bad_value
from dal.runtime.ranges import Range, Ranges, whole
from dal.tasks import CLASSIFICATION, MULTI_LABEL, Task
from dal.tasks.base import UNKNOWN

# Of ImageNet, as pretrained backbones expect.
_SPLITS = {"train", "val", "valid", "validation", "test"}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass
class ImageFolder(DataConfig):
    """Images below ``root`` as uint8 (3, image_size, image_size): the middle square, resized. An id is the path
    relative to root with forward slashes.

    Without ``csv``, the subfolders of root that hold images are the classes, sorted, and images deeper down belong to
    them; images right in root have no label. With it, the labels that occur are the classes, sorted as text, and images
    that it does not mention have no label. All images without a label are points of the pool.

    Without ``test_root``, each labeled image is in the test set or not by a hash of its id, so that adding images never
    moves others. With it, the class subfolders of that folder are the test set, and root is the pool alone.

    An image that cannot be decoded is no point: it is in ``ImageData.set_aside`` with its reason, and a warning tells
    of it. The augmentation is a horizontal flip and a random crop of 0.6 to 1 of the area.

    Raises DalError where a folder or the CSV is missing, empty or does not fit the classes, fewer than two classes are
    known, nothing is labeled, or a split would be empty.

    >>> from dal.data import load
    >>> load(ImageFolder(root="no/such/folder"))
    Traceback (most recent call last):
    dal.errors.DalError: root: expected a folder of images that exists, got 'no/such/folder'.
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
    classes: list[str] | None = None
    """Class names in order, including classes without an image yet; null takes the classes that occur."""

    def read(self) -> ImageSplits:
        root = existing_folder("root", self.root)
        test_root = None if self.test_root is None else self._separate(root, self.test_root)
        files = _some_files("root", root)
        splits = {file.split("/", 1)[0] for file in files if file.count("/") > 1}
        if self.csv is None and self.classes is None and "train" in splits <= _SPLITS and len(splits) > 1:
            expected = "class subfolders (splits are given as data.root=.../train data.test_root=.../test)"
            raise bad_value("root", expected, sorted(splits))
        if self.csv is not None and csv_label_column(Path(self.csv)) == "labels":
            return self._read_multi_label(root, files)
        names = folder_labels(files) if self.csv is None else csv_labels(Path(self.csv), files)
        classes = self._classes(root, set(names.values()))
        numbers = class_numbers("root" if self.csv is None else "csv", names, classes)
        test_numbers = None if test_root is None else _test_numbers(test_root, classes)
        data = self._data(root, files, numbers, classes)
        if bool((data.labels == UNKNOWN).all()):
            raise DalError(f"root: expected a labeled image that can be decoded, got none in {root}.")
        if test_root is not None and test_numbers is not None:
            return ImageSplits(data, self._data(test_root, sorted(test_numbers), test_numbers, classes))
        return split_by_id(data, self.test_fraction)

    def _read_multi_label(self, root: Path, files: Sequence[str]) -> ImageSplits:
        """The images with any number of classes each, from the column labels of the CSV file."""
        assert self.csv is not None
        if self.test_root is not None:
            raise bad_value("test_root", "null with several labels an image", self.test_root)
        names = csv_label_sets(Path(self.csv), files)
        classes = self._classes(root, {name for several in names.values() for name in several})
        position = {name: number for number, name in enumerate(classes)}
        for image, several in names.items():
            if unknown := sorted(set(several) - set(classes)):
                raise bad_value("csv", f"labels of {image} among the classes {', '.join(classes[:10])}", unknown[0])
        numbers = {image: tuple(position[name] for name in several) for image, several in names.items()}
        return split_by_id(self._data(root, files, numbers, classes, MULTI_LABEL), self.test_fraction)

    @staticmethod
    def _separate(root: Path, test_root: str) -> Path:
        """Raises DalError where one folder holds the other, since test images would be trained on."""
        folder = existing_folder("test_root", test_root)
        real, real_root = folder.resolve(), root.resolve()
        if real.is_relative_to(real_root) or real_root.is_relative_to(real):
            raise bad_value("test_root", f"a folder neither in the root {root} nor around it", test_root)
        return folder

    def _classes(self, root: Path, names: Collection[str]) -> list[str]:
        found = sorted(names)
        if self.csv is not None and not found:
            raise bad_value("csv", "at least one labeled image", f"only empty labels in {self.csv}")
        if self.classes is not None:
            if len(self.classes) < 2 or len(set(self.classes)) < len(self.classes):
                raise bad_value("classes", "at least two different class names", list(self.classes))
            if not found:
                raise bad_value("root", "at least one class subfolder with an image", str(root))
            return list(self.classes)
        if len(found) < 2:
            argument, what = (
                ("root", "class subfolders with images") if self.csv is None else ("csv", "different labels")
            )
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
        return _folder_data(root, files, numbers, classes, self.image_size, self.in_memory, name, task)


def unlabeled_folder(
    root: str, *, image_size: int, classes: Sequence[str], name: str = "folder", in_memory: bool | None = None
) -> ImageData:
    """All images in a folder and below it as points without labels, for ranking with a model of these classes.

    The images are those that ImageFolder would read: same ids, sizes, normalization and treatment of damaged files.

    Raises DalError where the folder is missing or holds no image that can be decoded.

    >>> unlabeled_folder("no/such/folder", image_size=64, classes=["cat", "dog"])
    Traceback (most recent call last):
    dal.errors.DalError: root: expected a folder of images that exists, got 'no/such/folder'.
    """
    folder = existing_folder("root", root)
    return _folder_data(folder, _some_files("root", folder), {}, classes, image_size, in_memory, name)


def _folder_data(
    root: Path,
    files: Sequence[str],
    numbers: Mapping[str, Any],
    classes: Sequence[str],
    image_size: int,
    in_memory: bool | None,
    name: str,
    task: Task = CLASSIFICATION,
) -> ImageData:
    source, readable, set_aside = read_images(root, files, image_size, in_memory)
    labels = task.unlabeled(len(readable), len(classes))
    labeled = [place for place, file in enumerate(readable) if file in numbers]
    labels[labeled] = task.encode([numbers[readable[place]] for place in labeled], len(classes))
    return ImageData(
        name=name,
        source=source,
        ids=readable,
        labels=labels,
        classes=list(classes),
        mean=MEAN,
        std=STD,
        augmentation=Compose([RandomResizedCrop(scale=(0.6, 1.0)), HorizontalFlip()]),
        set_aside=set_aside,
        task=task,
    )


def _some_files(argument: str, root: Path) -> list[str]:
    files = image_files(root)
    if not files:
        raise bad_value(argument, "a folder with images in it or below", f"no image in {root}")
    return files


def _test_numbers(test_root: Path, classes: Sequence[str]) -> dict[str, int]:
    names = folder_labels(_some_files("test_root", test_root))
    if not names:
        raise bad_value("test_root", "class subfolders with images", f"only images without a class in {test_root}")
    return class_numbers("test_root", names, classes)
