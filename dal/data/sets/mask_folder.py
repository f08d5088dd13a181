"""Your own images and masks, paired by their file names."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from dal.data.augment import Compose, HorizontalFlip, RandomResizedCrop
from dal.data.images import ImageData, ImageSplits
from dal.data.sets.config import DataConfig
from dal.data.sets.image_folder import separate_folder
from dal.data.sets.photographs import MEAN, STD
from dal.data.sources.folder.cached_images import cache_folder
from dal.data.sources.folder.decoding import read_images
from dal.data.sources.folder.listing import existing_folder, shown
from dal.data.sources.folder.mask_classes import (
    ColorTable,
    NamedColor,
    read_classes,
    read_colors,
    voc_colors,
)
from dal.data.sources.folder.mask_files import MaskReader, check_seen_classes, read_masks
from dal.data.sources.folder.mask_pairs import (
    MaskLayout,
    MaskSplit,
    find_splits,
    pair_files,
    pairs_of,
    split_for_testing,
)
from dal.data.sources.folder.names import check_class_names, composed
from dal.data.sources.split import split_by_id
from dal.errors import DalError, bad_content, bad_value
from dal.runtime.ranges import Ranges, share, whole
from dal.runtime.user_paths import is_file, user_path
from dal.tasks.base import UNKNOWN
from dal.tasks.segmentation import IGNORED, SEGMENTATION

_VOC = "voc"


@dataclass
class MaskFolder(DataConfig):
    """Images below ``root/images`` and their masks below ``root/masks``, as uint8 squares of ``image_size`` pixels.

    A mask has the path of its image, except for the suffix, and the size of the image after EXIF rotation. An image
    without a mask is a point without labels. Images are read as in ImageFolder. Masks are cropped like their images,
    and resized to the nearest pixels. An id is the path of an image below the folder of images.

    A mask is a gray or palette image, whose values are class numbers, or 255 for ignored pixels. With ``colors``, or a
    file ``colors.csv`` in root, its colors are classes. The class names are ``classes``, the lines of ``classes.txt``
    in root, or the classes of the colors in their order.

    The test set is the split ``test``, or else ``val``, if the images are in ``train/images`` or ``images/train``, the
    folder ``test_root``, or a share of the images with a mask, as in ImageFolder.

    Raises DalError if folders are missing, if files and their masks do not fit, or if a mask has other values. The
    sentence names the file.

    >>> from dal.data import load
    >>> load(MaskFolder(root="no/such/folder"))
    Traceback (most recent call last):
    dal.errors.DalError: data.root: expected an existing folder of images, got 'no/such/folder'.
    """

    ranges: ClassVar[Ranges] = DataConfig.ranges | {"test_fraction": share(below=True), "image_size": whole(1, 4096)}

    root: str = ""
    """Folder with the folders of images and masks."""
    images: str = "images"
    """Folder of the images below root."""
    masks: str = "masks"
    """Folder of the masks below root."""
    image_suffix: str = ""
    """End of the names of images before the file type, which names of masks do not have, such as _leftImg8bit."""
    mask_suffix: str = ""
    """End of the names of masks before the file type, which names of images do not have, such as _mask."""
    classes: list[str] | None = None
    """Class names in order; null uses classes.txt in root, one name per line, or the names in the color table."""
    colors: str | None = None
    """CSV file with the columns r,g,b,class for masks in RGB, or voc; null uses colors.csv in root if it exists."""
    test_root: str | None = None
    """Folder with the same folders and the test set, outside of root; null takes a split or test images from root."""
    test_split: str | None = None
    """Name of the split that is the test set, such as val; null takes test, or else val."""
    test_fraction: float = 0.2
    """Share of the images with a mask that become the test set if there is no test folder or split."""
    image_size: int = 64
    """Side length in pixels to which images and masks are cropped and resized."""
    in_memory: bool | None = None
    """Whether to keep all pixels in memory; null does so if they take less than 1 GiB."""
    cache: str | None = None
    """Folder that keeps decoded pixels for later starts and runs; auto is ~/.cache/dal/images, null keeps none."""

    def read(self) -> ImageSplits:
        root = existing_folder("data.root", self.root)
        layout = MaskLayout(self.images, self.masks, self.image_suffix, self.mask_suffix)
        splits = find_splits(root, layout)
        colors = self._colors(root)
        classes = self._classes(root, colors)
        table = None if colors is None else ColorTable(colors, classes, "data.colors")
        reader = MaskReader(len(classes), table)
        train, counts = self._data(splits.get("train") or splits[""], layout, reader, classes)
        check_seen_classes(counts, len(classes), "data.root")
        if unlabeled := _unlabeled(train):
            what = f"{len(unlabeled):,} of {len(train):,} images have no mask and are points without labels"
            warnings.warn(f"data.root: {what}: {shown(unlabeled)}.", stacklevel=2)
        if self.test_root is not None:
            if self.test_split is not None:
                raise bad_value("data.test_split", "null with data.test_root", self.test_split)
            of_test = find_splits(separate_folder(root, self.test_root), layout)
            if "" not in of_test:
                raise bad_value("data.test_root", "a folder without splits", self.test_root)
            return ImageSplits(train, self._test_data(of_test[""], layout, reader, classes))
        chosen = split_for_testing(splits, self.test_split)
        if chosen is None:
            return split_by_id(train, self.test_fraction)
        return ImageSplits(train, self._test_data(splits[chosen], layout, reader, classes))

    def _colors(self, root: Path) -> list[NamedColor] | None:
        if self.colors == _VOC:
            return voc_colors()
        if self.colors is None:
            return read_colors(root / "colors.csv") if is_file(root / "colors.csv") else None
        if not is_file(user_path(self.colors)):
            raise bad_value("data.colors", "an existing CSV file, or voc", self.colors)
        return read_colors(user_path(self.colors))

    def _classes(self, root: Path, colors: Sequence[NamedColor] | None) -> list[str]:
        """Return the class names.

        Raises DalError for fewer than two, or more than 255.
        """
        listed = root / "classes.txt"
        if self.classes is not None:
            argument, classes = "data.classes", check_class_names(self.classes)
        elif is_file(listed):
            argument, classes = str(listed), read_classes(listed)
        elif colors is not None:
            argument, classes = "data.colors", list(dict.fromkeys(name for _, name in colors if name))
        else:
            raise DalError(
                f"data.classes: expected the class names, got none. List them in {listed}, one per line from class 0."
            )
        if not 2 <= len(classes) <= IGNORED:
            raise bad_value(argument, f"from 2 to {IGNORED} classes", classes if len(classes) < 2 else len(classes))
        return classes

    def _data(
        self, split: MaskSplit, layout: MaskLayout, reader: MaskReader, classes: Sequence[str]
    ) -> tuple[ImageData, Tensor]:
        """Return the images of a split, and the number of pixels of each class."""
        files, paths = pair_files(split, layout, "data.root")
        found = read_images(split.images, files, self.image_size, self.in_memory, self.cache)
        source, readable, set_aside, first_frames = found
        folder = cache_folder(self.cache, split.masks)
        cache = None if folder is None else (folder, split.masks)
        pairs = pairs_of(split.images, readable, paths)
        masks = read_masks(pairs, reader, self.image_size, self.in_memory, cache)
        data = ImageData(
            name=Path(self.root).resolve().name,
            source=source,
            ids=[composed(file) for file in readable],
            labels=torch.tensor([0 if is_known else UNKNOWN for is_known in masks.known], dtype=torch.int64),
            classes=list(classes),
            mean=MEAN,
            std=STD,
            augmentation=Compose([RandomResizedCrop(scale=(0.6, 1.0)), HorizontalFlip()]),
            set_aside=set_aside,
            first_frames=[composed(file) for file in first_frames],
            task=SEGMENTATION,
            masks=masks.source,
            files=[split.images / file for file in readable],
        )
        return data, masks.counts

    def _test_data(self, split: MaskSplit, layout: MaskLayout, reader: MaskReader, classes: Sequence[str]) -> ImageData:
        """Return the images of a test set that have a mask."""
        data, _ = self._data(split, layout, reader, classes)
        left = set(_unlabeled(data))
        if len(left) == len(data):
            raise bad_content("data.root", "test masks with pixels that are not ignored", f"none in {split.masks}")
        if left:
            what = f"{len(left):,} test images without a mask are not used"
            warnings.warn(f"data.root: {what}: {shown(sorted(left))}.", stacklevel=2)
        known = [index for index, image in enumerate(data.ids) if image not in left]
        return replace(data.subset(known), set_aside={}, first_frames=())


def _unlabeled(data: ImageData) -> list[str]:
    """Return the ids of the images without a mask that has a class."""
    return [data.ids[index] for index in (data.labels == UNKNOWN).nonzero().flatten().tolist()]
