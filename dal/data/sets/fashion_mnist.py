"""Fashion-MNIST (arXiv:1708.07747): grayscale 28x28 images of ten kinds of clothing.

The set has 60,000 training and 10,000 test images.
"""

from __future__ import annotations

from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from dal.data.augment import HorizontalFlip
from dal.data.images import ImageData, ImageSplits, TensorSource
from dal.data.sets.config import DataConfig
from dal.data.sets.idx import read_idx
from dal.errors import DalError, bad_content, bad_value
from dal.runtime.user_paths import exists, user_path

DEFAULT_ROOT = "data/fashion_mnist"
DEBIAN_ROOT = "/usr/share/datasets/fashion-mnist"
CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
# Statistics of the 60,000 training images, scaled to 0..1.
MEAN, STD = 0.2860, 0.3530
# torchvision uses the same file names for these sets, often below the same root.
_NAMESAKES = {"MNIST", "KMNIST", "EMNIST", "QMNIST"}
_FILES = [f"{prefix}-{kind}-ubyte" for prefix in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
_HOW_TO_GET = (
    "use download=true, scripts/fetch_fashion_mnist.py, or the Debian package "
    f"dataset-fashion-mnist, which installs them in {DEBIAN_ROOT}"
)


@dataclass
class FashionMNIST(DataConfig):
    """Fashion-MNIST from its four IDX files, as uint8 (1, 28, 28) images.

    The files, gzipped or not, are in ``root`` or in any folder below it. If the default root does not exist, the folder
    of the Debian package dataset-fashion-mnist is used. The augmentation is a horizontal flip.

    Raises DalError if a file is missing, damaged or of the wrong shape, or if the download fails.

    >>> from dal.data import load
    >>> load(FashionMNIST(root="no/such/folder"))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    dal.errors.DalError: data.root: expected the Fashion-MNIST file train-images-idx3-ubyte or ...
    """

    root: str = DEFAULT_ROOT
    """Folder of the four IDX files; its subfolders are searched too."""
    download: bool = False
    """Whether to download missing files into root."""

    def read(self) -> ImageSplits:
        root = user_path(self.root)
        if self.root == DEFAULT_ROOT and not exists(root) and Path(DEBIAN_ROOT).is_dir():
            root = Path(DEBIAN_ROOT)
        if self.download and any(_find(root, name) is None for name in _FILES):
            _download(root)
        return ImageSplits(_split(root, "train", "train"), _split(root, "test", "t10k"))


def _split(root: Path, split: str, prefix: str) -> ImageData:
    image_path = _existing(root, f"{prefix}-images-idx3-ubyte")
    label_path = _existing(root, f"{prefix}-labels-idx1-ubyte")
    images, labels = read_idx(image_path, ndim=3), read_idx(label_path, ndim=1)
    if images.shape[1:] != (28, 28):
        raise bad_content(str(image_path), "images of 28 x 28 pixels", f"{images.shape[1]} x {images.shape[2]}")
    if len(labels) != len(images):
        raise bad_value(str(label_path), f"one label for each of the {len(images)} images", len(labels))
    if int(labels.max()) >= len(CLASSES):
        raise bad_value(str(label_path), f"labels from 0 to {len(CLASSES) - 1}", int(labels.max()))
    return ImageData(
        name="fashion_mnist",
        source=TensorSource(images.unsqueeze(1)),
        ids=[f"{split}-{position:05d}" for position in range(len(images))],
        labels=labels.long(),
        classes=CLASSES,
        mean=[MEAN],
        std=[STD],
        augmentation=HorizontalFlip(),
    )


def _find(root: Path, name: str) -> Path | None:
    for folder in (root, *sorted(path for path in root.rglob("*") if path.is_dir())):
        if _NAMESAKES.isdisjoint(folder.relative_to(root).parts):
            for path in (folder / name, folder / f"{name}.gz"):
                if path.is_file():
                    return path
    return None


def _existing(root: Path, name: str) -> Path:
    path = _find(root, name)
    if path is None:
        expected = f"the Fashion-MNIST file {name} or {name}.gz in it or below it ({_HOW_TO_GET})"
        raise bad_value("data.root", expected, str(root))
    return path


def _download(root: Path) -> None:
    from torchvision.datasets import FashionMNIST as Download

    try:
        Download(str(root), download=True)
    except (OSError, RuntimeError, HTTPException) as error:
        raise DalError(
            f"data.download: fetching Fashion-MNIST into {root} failed ({' '.join(str(error).split())}); "
            f"put its four files there yourself ({_HOW_TO_GET})."
        ) from error
