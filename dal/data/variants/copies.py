"""A redundant pool: each image several times, the copies with noise, the same on every machine and for every run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from dal.data.images import ImageData, ImageSource, TensorSource
from dal.errors import bad_value
from dal.runtime.seeding import generator


class NoisyCopies:
    """``copies`` times the images of another source, one whole pass after the other. The first pass is the images as
    they are; on each image of the others lies Gaussian noise of its own, which depends on its id alone.

    ``noise`` is the standard deviation for each channel, in the units of the images. What was whole gray levels from 0
    to 255 stays so: noise is rounded, and cut off where it would leave them.
    """

    def __init__(self, source: ImageSource, ids: Sequence[str], noise: Sequence[float]) -> None:
        self.source, self.ids = source, ids
        self.noise = torch.tensor(noise, dtype=torch.float32).view(-1, 1, 1)

    def __len__(self) -> int:
        return len(self.ids)

    def batch(self, indices: Sequence[int]) -> Tensor:
        images = self.source.batch([index % len(self.source) for index in indices]).clone()
        for place, index in enumerate(indices):
            if index < len(self.source):
                continue
            g = generator(0, "copy", self.ids[index])
            noisy = images[place] + self.noise * torch.randn(images[place].shape, generator=g)
            images[place] = noisy.round().clamp(0, 255).to(torch.uint8) if images.dtype == torch.uint8 else noisy
        return images


def noisy_copies(data: ImageData, copies: int, noise: float) -> ImageData:
    """Each image ``copies`` times, all but the first with Gaussian noise, as the repeated MNIST of arXiv:1906.08158.

    ``noise`` is the standard deviation over that of the data set's pixels: what it is after normalizing. An index is
    that of the first copies, plus a multiple of their number; ``#1`` and so on behind an id tell the copies apart.
    Labels are those of the first copies.

    Raises DalError where copies is less than 1, noise is not a number from 0, or the data brings random transforms of
    its own.

    >>> data = ImageData("toy", TensorSource(torch.full((2, 1, 8, 8), 99, dtype=torch.uint8)), ["a", "b"],
    ...                  torch.tensor([0, 1]), ["cat", "dog"], mean=[0.5], std=[0.25])
    >>> twice = noisy_copies(data, 2, noise=0.1)
    >>> twice.ids, twice.labels
    (['a', 'b', 'a#1', 'b#1'], tensor([0, 1, 0, 1]))
    """
    if isinstance(copies, bool) or copies < 1:
        raise bad_value("copies (data.copies)", "at least 1", copies)
    if not (math.isfinite(noise) and noise >= 0):
        raise bad_value("noise (data.copy_noise)", "a number from 0", noise)
    if data.augmented_source is not None:
        raise bad_value("data", "images without random transforms of their own", data.name)
    ids = [f"{name}#{copy}" if copy else name for copy in range(copies) for name in data.ids]
    whole_levels = data.source.batch([0]).dtype == torch.uint8
    levels = [255 * noise * std for std in data.std] if whole_levels else [noise]
    source: ImageSource = NoisyCopies(data.source, ids, levels)
    if isinstance(data.source, TensorSource):  # in memory anyway, so the noise need not be drawn at each reading
        source = TensorSource(source.batch(range(len(ids))))
    return replace(data, source=source, ids=ids, labels=data.labels.repeat(copies))
