"""Digits: 1,797 grayscale 8x8 images of handwritten digits from scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dal.data.augment import RandomCrop
from dal.data.images import ImageData, ImageSplits, TensorSource
from dal.data.sets.config import DataConfig
from dal.runtime.seeding import derive_seed

FILE = "datasets/data/digits.csv.gz"
"""The place of the images in the package of scikit-learn."""
TEST_SIZE = 500
# Statistics of the 1,297 training images, scaled to 0..1.
MEAN, STD = 0.3053, 0.3759


@dataclass
class Digits(DataConfig):
    """The digits of scikit-learn in a fixed stratified split.

    The split has 1,297 training and 500 test images, uint8 (1, 8, 8). It needs no download, and training takes seconds.
    An id such as ``digit-0007`` contains the position in ``sklearn.datasets.load_digits()``. The augmentation shifts
    images by at most one pixel. It does not flip them, because that changes digits.

    >>> from dal.data import load
    >>> train, test = load(Digits())
    >>> len(train), len(test), train.image_shape
    (1297, 500, (1, 8, 8))
    """

    def read(self) -> ImageSplits:
        pixels, digits = _pixels_and_digits()
        images = torch.from_numpy(np.rint(pixels * (255 / 16)).astype(np.uint8)).unsqueeze(1)
        data = ImageData(
            name="digits",
            source=TensorSource(images),
            ids=[f"digit-{position:04d}" for position in range(len(images))],
            labels=torch.from_numpy(digits),
            classes=[str(digit) for digit in range(10)],
            mean=[MEAN],
            std=[STD],
            augmentation=RandomCrop(padding=1),
        )
        in_test = _stratified(data.labels, TEST_SIZE)
        train, test = (data.subset(mask.nonzero().flatten().tolist()) for mask in (~in_test, in_test))
        return ImageSplits(train, test)


def _pixels_and_digits() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the (N, 8, 8) pixels from 0 to 16, and the (N,) digits.

    They come from scikit-learn's file. The import of scikit-learn, which loads pandas, would delay the first round.
    """
    installed = find_spec("sklearn")
    file = Path(installed.origin if installed and installed.origin else "").parent / FILE
    if file.is_file():
        rows = np.loadtxt(file, delimiter=",")
        return rows[:, :-1].reshape(-1, 8, 8), rows[:, -1].astype(np.int64)
    from sklearn.datasets import load_digits

    raw = load_digits()
    return raw.images, raw.target.astype(np.int64)


def _stratified(labels: Tensor, size: int) -> Tensor:
    """Return an (N,) bool mask of ``size`` points, stratified by class.

    Hashes choose the points, so the split does not depend on the version of a random number library.
    """
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    shares = labels.bincount() * size / len(labels)
    quota = shares.floor().long()
    quota[(shares - quota).argsort(descending=True, stable=True)[: size - int(quota.sum())]] += 1
    for number, count in enumerate(quota.tolist()):
        members = (labels == number).nonzero().flatten().tolist()
        members.sort(key=lambda position: derive_seed(0, "digits", position))
        chosen[members[:count]] = True
    return chosen
