"""Augmentation of images and masks together.

The augmentations of dal/data/augment.py and their Compose move masks too. TransformPair applies transforms of
torchvision.transforms.v2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from dal.errors import bad_content, bad_value
from dal.runtime.seeding import isolated_cpu_rng, seed_cpu_generators
from dal.tasks import IGNORED


@runtime_checkable
class PairAugmentation(Protocol):
    """Interface of an augmentation that moves masks with their images."""

    def pair(self, images: Tensor, masks: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return (B, C, H, W) images and (B, H, W) masks of the same shapes and dtypes.

        All randomness comes from the CPU generator. Pixels that come from outside the image are 255 in the masks.
        """
        ...


def augment_pair(
    augmentation: object, images: Tensor, masks: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Apply an augmentation, or None, to images and masks together.

    Raises DalError for one that only takes images.

    >>> from dal.data.augment import HorizontalFlip
    >>> images, masks = torch.tensor([[[[1, 2, 3]]]]), torch.tensor([[[0, 1, 255]]], dtype=torch.uint8)
    >>> augment_pair(HorizontalFlip(1.0), images, masks, torch.Generator())
    (tensor([[[[3, 2, 1]]]]), tensor([[[255,   1,   0]]], dtype=torch.uint8))
    """
    if augmentation is None:
        return images, masks
    if not isinstance(augmentation, PairAugmentation):
        name = getattr(augmentation, "__name__", type(augmentation).__name__)
        expected = "one with a method pair(images, masks, generator), such as HorizontalFlip or TransformPair"
        raise bad_value("augmentation", expected, name)
    return augmentation.pair(images, masks, generator)


@dataclass(frozen=True)
class TransformPair:
    """Applies a transform of torchvision.transforms.v2 to each image and its mask.

    These transforms draw from the global generators. Here, each image has a seed from the given generator, and the
    global generators are restored. Mask pixels from outside the image are 255, for every ``fill`` of the transform.

    Raises DalError, when called, if the transform changes the size.

    >>> from torchvision.transforms import v2
    >>> flip = TransformPair(v2.RandomHorizontalFlip(p=1.0))
    >>> images, masks = torch.tensor([[[[1, 2, 3]]]]), torch.tensor([[[0, 1, 255]]], dtype=torch.uint8)
    >>> flip.pair(images, masks, torch.Generator())[1]
    tensor([[[255,   1,   0]]], dtype=torch.uint8)
    """

    transform: Callable[..., Any]

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return self.pair(images, images.new_zeros(images[:, 0].shape, dtype=torch.uint8), generator)[0]

    def pair(self, images: Tensor, masks: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        from torchvision import tv_tensors  # slow to import

        seeds = torch.randint(2**62, (len(images),), generator=generator).tolist()
        # One higher, 255 becomes 0, the usual fill. A fill of 255 is free, unless there are 255 classes.
        raised = masks + 1
        has_last = bool((raised == IGNORED).any())
        new_images, new_masks = torch.empty_like(images), torch.empty_like(masks)
        with isolated_cpu_rng():
            for row, seed in enumerate(seeds):
                seed_cpu_generators(seed)
                image, mask = self.transform(tv_tensors.Image(images[row]), tv_tensors.Mask(raised[row]))
                if image.shape != images.shape[1:] or mask.shape != masks.shape[1:]:
                    expected = f"a transform that keeps the size {tuple(images.shape[1:])}"
                    raise bad_content("transform", expected, f"{tuple(image.shape)} and a mask {tuple(mask.shape)}")
                new_images[row], new_masks[row] = image.as_subclass(Tensor), mask.as_subclass(Tensor)
        if not has_last:
            new_masks[new_masks == IGNORED] = 0
        return new_images, new_masks - 1
