"""Redundant pools: noisy copies of each image, identical on every machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from dal.data.image_sources import Marks, image_marks
from dal.data.images import ImageData, ImageSource, SubsetSource, TensorSource, image_digests
from dal.data.sets.config import DataConfig
from dal.errors import bad_value
from dal.runtime.seeding import generator


class NoisyCopies:
    """Repeats the images of a source and adds noise to the copies.

    The copies are consecutive passes over the source. The Gaussian noise of an image depends only on its id. ``noise``
    is the standard deviation per channel, in the units of the images. Noisy uint8 images are rounded and clamped to
    0..255.
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

    def digests(self, indices: Sequence[int]) -> list[bytes] | None:
        """Return the digests of the images without noise."""
        return image_digests(self.source, [index % len(self.source) for index in indices])

    def marks(self, indices: Sequence[int]) -> Marks | None:
        """Return the marks of the images without noise."""
        return image_marks(self.source, [index % len(self.source) for index in indices])


def noisy_copies(data: ImageData, copies: int, noise: float) -> ImageData:
    """Return each image ``copies`` times, all but the first with Gaussian noise.

    This is the repeated MNIST of arXiv:1906.08158. ``noise`` is the standard deviation relative to that of the data
    set's pixels, so it is the standard deviation after normalization. Copy k of image i has the index ``k * N + i`` for
    N images, the label of image i, and its id followed by ``#k``.

    Raises DalError if ``copies`` is less than 1, if ``noise`` is negative or not finite, or if the data has random
    transforms.

    >>> data = ImageData("toy", TensorSource(torch.full((2, 1, 8, 8), 99, dtype=torch.uint8)), ["a", "b"],
    ...                  torch.tensor([0, 1]), ["cat", "dog"], mean=[0.5], std=[0.25])
    >>> twice = noisy_copies(data, 2, noise=0.1)
    >>> twice.ids, twice.labels
    (['a', 'b', 'a#1', 'b#1'], tensor([0, 1, 0, 1]))
    """
    DataConfig.ranges["copies"].check("copies (data.copies)", copies)
    DataConfig.ranges["copy_noise"].check("noise (data.copy_noise)", noise)
    if data.augmented_source is not None:
        raise bad_value("data", "images without random transforms", data.name)
    ids = [f"{name}#{copy}" if copy else name for copy in range(copies) for name in data.ids]
    whole_levels = data.source.batch([0]).dtype == torch.uint8
    levels = [255 * noise * std for std in data.std] if whole_levels else [noise]
    source: ImageSource = NoisyCopies(data.source, ids, levels)
    if isinstance(data.source, TensorSource):  # the images are in memory, so draw the noise once
        every = range(len(ids))
        source = TensorSource(source.batch(every), image_digests(source, every))
    masks = None if data.masks is None else SubsetSource(data.masks, [*range(len(data))] * copies)
    labels, files = data.labels.repeat(copies), data.files and [*data.files] * copies
    return replace(data, source=source, ids=ids, labels=labels, masks=masks, files=files)
