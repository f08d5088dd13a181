"""Converts torchvision's CIFAR-10 and CIFAR-100 to ImageSplits."""

from __future__ import annotations

from collections.abc import Sequence
from http.client import HTTPException
from typing import Any

import torch

from dal.data.augment import Compose, HorizontalFlip, RandomCrop
from dal.data.images import ImageData, ImageSplits, TensorSource
from dal.errors import DalError, reason


def read_cifar(
    factory: Any, name: str, root: str, download: bool, mean: Sequence[float], std: Sequence[float]
) -> ImageSplits:
    """Return both splits of ``torchvision.datasets.CIFAR10`` or ``CIFAR100``.

    torchvision downloads, verifies and unpacks the files. Images are uint8 (3, 32, 32), and ids have the form
    ``train-00001``.

    Raises DalError if the files are missing or damaged, or if the download fails.
    """

    def split(name_of_split: str) -> ImageData:
        raw = _open(factory, root, download, train=name_of_split == "train")
        images = torch.from_numpy(raw.data).permute(0, 3, 1, 2).contiguous()
        return ImageData(
            name=name,
            source=TensorSource(images),
            ids=[f"{name_of_split}-{position:05d}" for position in range(len(images))],
            labels=torch.tensor(raw.targets, dtype=torch.int64),
            classes=list(raw.classes),
            mean=mean,
            std=std,
            augmentation=Compose([RandomCrop(padding=4), HorizontalFlip()]),
        )

    return ImageSplits(split("train"), split("test"))


def _open(factory: Any, root: str, download: bool, train: bool) -> Any:
    try:
        return factory(root, train=train, download=download)
    except (OSError, RuntimeError, HTTPException) as error:
        if download:
            message = (
                f"data.download: fetching {factory.base_folder} from {factory.url} into {root} failed "
                f"({reason(error)}). Fetch {factory.filename} on a machine with a network and unpack it in {root}."
            )
        else:
            message = (
                f"data.root: expected the undamaged files of {factory.base_folder} in {root}, which are missing or "
                f"damaged. Use download=true, or unpack {factory.url} there."
            )
        raise DalError(message) from error
