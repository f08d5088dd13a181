"""Maps the pixels of a source to the images that a network reads."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from dal.errors import bad_value


def normalized(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Return (B, C, H, W) uint8 pixels as normalized float32 images, on their device. Other images become float32.

    ``mean`` and ``std`` have one number for each channel, or one for all. Raises DalError for another count.

    >>> normalized(torch.full((1, 1, 1, 1), 255, dtype=torch.uint8), [0.5], [0.25]).item()
    2.0
    """
    if images.dtype != torch.uint8:
        return images.float()
    # An empty mean would silently broadcast one channel to zero channels.
    for argument, value in (("mean", mean), ("std", std)):
        if len(value) not in (1, images.shape[1]):
            raise bad_value(argument, f"one number for each of the {images.shape[1]} channels", list(value))
    center = torch.tensor(mean, dtype=torch.float32).view(-1, 1, 1) * 255
    scale = torch.tensor(std, dtype=torch.float32).view(-1, 1, 1) * 255
    return (images - center.to(images.device)) / scale.to(images.device)


def halved(images: Tensor) -> Tensor:
    """Return (B, C, H, W) images at half the size, rounded up: the means of 2 x 2 pixels.

    >>> halved(torch.tensor([[[[1.0, 3.0, 7.0], [5.0, 7.0, 9.0]]]]))
    tensor([[[[4., 8.]]]])
    """
    return avg_pool2d(images, 2, ceil_mode=True)
