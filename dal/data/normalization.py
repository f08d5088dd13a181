"""Normalizes uint8 pixels with a mean and a standard deviation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from dal.errors import bad_value


def check_statistics(mean: Sequence[float], std: Sequence[float]) -> None:
    """Raise DalError for a mean that is not finite, or a standard deviation that is not positive and finite."""
    if not all(math.isfinite(value) for value in mean):
        raise bad_value("mean", "finite numbers", list(mean))
    if not all(math.isfinite(value) and value > 0 for value in std):
        raise bad_value("std", "positive finite numbers", list(std))


def normalized(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Return (B, C, H, W) float32 images, on the device on which they are. Other dtypes than uint8 are normalized.

    ``mean`` and ``std`` are fractions of 255, one number or one per channel.
    """
    if images.dtype != torch.uint8:
        return images.float()
    # An empty mean would silently broadcast one channel to zero channels.
    for argument, value in (("mean", mean), ("std", std)):
        if len(value) not in (1, images.shape[1]):
            raise bad_value(argument, f"one number for each of the {images.shape[1]} channels", list(value))
    means = torch.tensor(mean, dtype=torch.float32).view(-1, 1, 1) * 255
    stds = torch.tensor(std, dtype=torch.float32).view(-1, 1, 1) * 255
    return (images - means.to(images.device)) / stds.to(images.device)
