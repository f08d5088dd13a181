"""Scenes: 32x32 composites of clothing on photographs, for segmentation without a download."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import ClassVar

import torch

from dal.data.images import ImageData, ImageSplits, TensorSource
from dal.data.masks import TensorMasks
from dal.data.sets.config import DataConfig
from dal.data.sets.digits import Digits
from dal.data.sets.fashion_mnist import DEFAULT_ROOT, FashionMNIST
from dal.data.sets.photographs import MEAN, STD, augmentation
from dal.data.sets.scene_drawing import Array, SceneMaker, photograph_parts
from dal.errors import DalError, unknown_choice
from dal.runtime.ranges import Ranges, whole
from dal.tasks.segmentation import SEGMENTATION

# The classes of each source of items, most frequent first.
_KINDS = {
    "fashion_mnist": ("Pullover", "Trouser", "Sneaker", "Bag"),
    "digits": ("0", "1", "4", "7"),
}
_FREQUENCIES = (0.35, 0.3, 0.2, 0.15)
_SPLITS = ("train", "test")


@dataclass
class Scenes(DataConfig):
    """Real items, scaled, tinted and occluding one another, on patches of scikit-learn's two photographs.

    The classes are the background and four kinds of clothing of Fashion-MNIST, of which the rarest is 15 % of the
    items. About 83 % of the pixels are background. Masks are exact. Test scenes use test items and other parts of the
    photographs. A scene depends only on data.seed and its number. The augmentation is a shift and a horizontal flip.

    If Fashion-MNIST is not installed, the items are the digits of scikit-learn. A warning says so, and the name of the
    data set is then scenes_digits.

    Raises DalError if items=fashion_mnist and Fashion-MNIST is not installed.

    >>> from dal.data import load
    >>> train, test = load(Scenes(items="digits", train_size=3, test_size=2))
    >>> train.name, train.image_shape, train.masks.batch([0]).shape
    ('scenes_digits', (3, 32, 32), torch.Size([1, 32, 32]))
    """

    ranges: ClassVar[Ranges] = DataConfig.ranges | {
        "train_size": whole(1, 100_000),
        "test_size": whole(1, 100_000),
        "image_size": whole(16, 256),
        "seed": whole(0, 2**31),
    }

    items: str | None = None
    """Source of the items, fashion_mnist or digits; null takes Fashion-MNIST if it is installed, and else digits."""
    root: str = DEFAULT_ROOT
    """Folder of the four files of Fashion-MNIST, as in data=fashion_mnist."""
    train_size: int = 1000
    """Number of scenes in the pool."""
    test_size: int = 400
    """Number of scenes in the test set."""
    image_size: int = 32
    """Side length in pixels."""
    seed: int = 0
    """Seed of the scenes, which does not depend on the seed of the run."""

    def read(self) -> ImageSplits:
        kind, splits = self._items()
        name = "scenes" if kind == "fashion_mnist" else f"scenes_{kind}"
        sizes = dict(zip(_SPLITS, (self.train_size, self.test_size), strict=True))
        train, test = (self._data(name, kind, split, sizes[split], data) for split, data in splits.items())
        return ImageSplits(train, test)

    def _items(self) -> tuple[str, dict[str, ImageData]]:
        """Return the source of the items, and its splits by name."""
        if self.items is not None and self.items not in _KINDS:
            raise unknown_choice("data.items", _KINDS, self.items)
        if self.items != "digits":
            try:
                return "fashion_mnist", dict(zip(_SPLITS, _both(FashionMNIST(root=self.root)), strict=True))
            except DalError as error:
                if self.items is not None:
                    raise
                warnings.warn(
                    f"data: the items of the scenes are digits, without Fashion-MNIST ({error})", stacklevel=2
                )
        return "digits", dict(zip(_SPLITS, _both(Digits()), strict=True))

    def _data(self, name: str, kind: str, split: str, count: int, items: ImageData) -> ImageData:
        kinds = _KINDS[kind]
        gray = [_gray(items, list(items.classes).index(one)) for one in kinds]
        made = SceneMaker(gray, _FREQUENCIES, photograph_parts(split), self.image_size, self.seed).scenes(split, count)
        return ImageData(
            name=name,
            source=TensorSource(torch.stack([scene.image for scene in made])),
            ids=[f"{split}-{number:05d}" for number in range(count)],
            labels=torch.zeros(count, dtype=torch.int64),
            classes=["background", *kinds],
            mean=MEAN,
            std=STD,
            augmentation=augmentation(self.image_size, flip=kind != "digits"),
            task=SEGMENTATION,
            masks=TensorMasks(torch.stack([scene.mask for scene in made])),
        )


def _both(config: DataConfig) -> tuple[ImageData, ImageData]:
    train, test = config.read()
    assert test is not None
    return train, test


def _gray(data: ImageData, number: int) -> Array:
    """Return the (n, h, w) gray images of a class."""
    images: Array = data.source.batch((data.labels == number).nonzero().flatten().tolist())[:, 0].numpy()
    return images
