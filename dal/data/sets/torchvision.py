"""Classification data sets of torchvision, by name."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, ClassVar, NamedTuple

import torchvision

from dal.data.images import ImageData, ImageSplits
from dal.data.sets.config import DataConfig
from dal.data.sets.photographs import MEAN, STD, augmentation
from dal.data.sources.folder.names import distinct_names
from dal.data.sources.item_images import ItemSource, in_memory_if_small
from dal.data.sources.listed_content import listed_marks
from dal.data.sources.torch_labels import known_labels
from dal.errors import DalError, bad_content, bad_value, reason, unknown_choice
from dal.runtime.ranges import Ranges, whole


class Known(NamedTuple):
    """Constructor arguments of both splits, and facts that the class lacks."""

    train: dict[str, Any]
    test: dict[str, Any]
    gray: bool = False
    flip: bool = True
    classes: int | Sequence[str] = 0


_FLAG = {"train": True}, {"train": False}
_SPLIT = {"split": "train"}, {"split": "test"}
_EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")

SETS: dict[str, Known] = {
    "CIFAR10": Known(*_FLAG),
    "CIFAR100": Known(*_FLAG),
    "Country211": Known(*_SPLIT),
    "DTD": Known(*_SPLIT),
    "EMNIST/balanced": Known(*_FLAG, gray=True, flip=False),
    "EMNIST/byclass": Known(*_FLAG, gray=True, flip=False),
    "EMNIST/digits": Known(*_FLAG, gray=True, flip=False),
    "EMNIST/letters": Known(*_FLAG, gray=True, flip=False),
    "FER2013": Known(*_SPLIT, gray=True, classes=_EMOTIONS),
    "FGVCAircraft": Known({"split": "trainval"}, {"split": "test"}),
    "FashionMNIST": Known(*_FLAG, gray=True),
    "Flowers102": Known({"split": "train"}, {"split": "test"}, classes=102),
    "Food101": Known(*_SPLIT),
    "GTSRB": Known(*_SPLIT, flip=False, classes=43),
    "ImageNet": Known({"split": "train"}, {"split": "val"}),
    "Imagenette": Known({"split": "train"}, {"split": "val"}),
    "KMNIST": Known(*_FLAG, gray=True, flip=False),
    "LFWPeople": Known(*_SPLIT),
    "MNIST": Known(*_FLAG, gray=True, flip=False),
    "OxfordIIITPet": Known({"split": "trainval"}, {"split": "test"}),
    "PCAM": Known(*_SPLIT, classes=("normal", "tumor")),
    "Places365": Known({"split": "train-standard", "small": True}, {"split": "val", "small": True}),
    "QMNIST": Known({"what": "train"}, {"what": "test"}, gray=True, flip=False),
    "RenderedSST2": Known(*_SPLIT, flip=False),
    "STL10": Known(*_SPLIT),
    "SVHN": Known(*_SPLIT, flip=False, classes=10),
    "StanfordCars": Known(*_SPLIT),
    "USPS": Known(*_FLAG, gray=True, flip=False, classes=10),
}
"""The data sets with a training and a test split. ``EMNIST/letters`` is the split ``letters`` of EMNIST."""


@dataclass
class Torchvision(DataConfig):
    """A classification data set of torchvision, as uint8 (C, H, W) images.

    Ids have the form ``train-00001``. torchvision downloads, verifies and unpacks the files. The augmentation is a
    random crop and, if it keeps the class, a horizontal flip. Images of up to 64 pixels per side are cropped after
    padding by 4. Larger images are cropped to 0.6 to 1 of the area.

    Raises DalError for an unknown data set, if its files are missing or damaged, or if the download fails.

    >>> from dal.data import load
    >>> load(Torchvision(dataset="SVHM"))
    Traceback (most recent call last):
    dal.errors.DalError: data.dataset: expected one of CIFAR10, CIFAR100, ... 'SVHM' (did you mean SVHN?).
    """

    ranges: ClassVar[Ranges] = DataConfig.ranges | {"image_size": whole(1, 4096, null=True)}

    dataset: str = ""
    """Name of the data set in torchvision.datasets, such as SVHN, STL10 or EMNIST/letters."""
    root: str = "data/torchvision"
    """Folder of the data set's files."""
    download: bool = False
    """Whether to download missing files into root."""
    image_size: int | None = None
    """Side length in pixels to which images are cropped and resized; null keeps their size, one for all images."""
    in_memory: bool | None = None
    """Whether to keep all pixels in memory; null does so if they take less than 1 GiB."""

    def read(self) -> ImageSplits:
        if self.dataset not in SETS:
            raise unknown_choice("data.dataset", SETS, self.dataset)
        known = SETS[self.dataset]
        opened = [self._open(known.train), self._open(known.test)]
        classes, of_test = (_classes(dataset, known) for dataset in opened)
        if classes != of_test:
            expected = f"the {len(classes)} classes of the training set in the test set"
            raise bad_content("data.root", expected, f"{len(of_test)} classes in {self.root}")
        return ImageSplits(
            *(self._split(*pair, known, classes) for pair in zip(("train", "test"), opened, strict=True))
        )

    def _split(self, split: str, dataset: Any, known: Known, classes: list[str]) -> ImageData:
        items = ItemSource(
            lambda index: dataset[index][0],
            len(dataset),
            self.image_size,
            known.gray,
            content=lambda indices: listed_marks(dataset, indices),
        )
        source = in_memory_if_small(items, self.in_memory)
        width = source.batch([0]).shape[-1]
        return ImageData(
            name=self.dataset,
            source=source,
            ids=[f"{split}-{position:05d}" for position in range(len(dataset))],
            labels=known_labels(dataset, _listed(dataset), read=dataset),
            classes=classes,
            mean=(0.5,) if known.gray else MEAN,
            std=(0.5,) if known.gray else STD,
            augmentation=augmentation(width, known.flip),
        )

    def _open(self, arguments: dict[str, Any]) -> Any:
        name, _, part = self.dataset.partition("/")
        options = dict(arguments) | ({"split": part} if part else {})
        factory = getattr(torchvision.datasets, name, None)
        if factory is None:
            raise bad_value("data.dataset", f"a data set of torchvision {torchvision.__version__}", self.dataset)
        # Two data sets cannot be downloaded and do not have the argument.
        if self.download and name not in ("FER2013", "ImageNet"):
            options["download"] = True
        try:
            return factory(self.root, **options)
        except (ImportError, OSError, RuntimeError, HTTPException, EOFError, ValueError, zipfile.BadZipFile) as error:
            raise self._failed(error) from error
        except tarfile.TarError as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> DalError:
        if self.download:
            return DalError(
                f"data.download: fetching {self.dataset} into {self.root} failed ({reason(error)}). Fetch it on a "
                "machine with a network and copy the folder."
            )
        expected = f"the undamaged files of torchvision's {self.dataset} in {self.root} (or data.download=true)"
        return DalError(f"data.root: expected {expected}, got: {reason(error)}.")


def _classes(dataset: Any, known: Known) -> list[str]:
    if isinstance(known.classes, int) and known.classes:
        return [str(number) for number in range(known.classes)]
    names = known.classes or getattr(dataset, "classes", None) or list(getattr(dataset, "class_to_idx", ()))
    # ImageNet's classes are tuples of synonyms, and two pairs of classes have one name.
    return distinct_names(names, getattr(dataset, "wnids", None))


def _listed(dataset: Any) -> Any:
    """Return the labels in a private attribute of a class, or None.

    Listed labels avoid decoding all images.
    """
    for name in ("_labels", "_samples"):
        values = getattr(dataset, name, None)
        if isinstance(values, (list, tuple)) and len(values) == len(dataset):
            return [value[1] if isinstance(value, (list, tuple)) else value for value in values]
    return None
