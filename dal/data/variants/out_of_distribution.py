"""Adds images of another data set, outside all classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from dal.data.image_sources import Marks, image_marks
from dal.data.images import ImageData, ImageSource, image_digests
from dal.errors import bad_value
from dal.tasks.base import OUT_OF_CLASS


class JoinedSource:
    """Joins two sources, with images in the shape of the first.

    Images are resized bilinearly with antialiasing. To match the channels, gray is repeated and colors are averaged.
    """

    def __init__(self, source: ImageSource, other: ImageSource) -> None:
        self.source, self.other = source, other
        self.shape = source.batch([0]).shape[1:]

    def __len__(self) -> int:
        return len(self.source) + len(self.other)

    def batch(self, indices: Sequence[int]) -> Tensor:
        images = torch.empty((len(indices), *self.shape), dtype=torch.uint8)
        at = torch.as_tensor(indices, dtype=torch.int64)
        own = at < len(self.source)
        if bool(own.any()):
            images[own] = self.source.batch(at[own].tolist())
        if not bool(own.all()):
            images[~own] = self._alike(self.other.batch((at[~own] - len(self.source)).tolist()))
        return images

    def digests(self, indices: Sequence[int]) -> list[bytes] | None:
        count = len(self.source)
        first = image_digests(self.source, [i for i in indices if i < count])
        second = image_digests(self.other, [i - count for i in indices if i >= count])
        if first is None or second is None:
            return None
        own, other = iter(first), iter(second)
        return [next(own if i < count else other) for i in indices]

    def marks(self, indices: Sequence[int]) -> Marks | None:
        """Return the digests or marks of the images."""
        count = len(self.source)
        parts = [
            _marks_of(self.source, [i for i in indices if i < count]),
            _marks_of(self.other, [i - count for i in indices if i >= count]),
        ]
        own, other = (iter(part.values) for part in parts)
        values = [next(own if i < count else other) for i in indices]
        return (
            Marks(values, all(part.exact for part in parts), any(part.looks for part in parts)) if any(values) else None
        )

    def _alike(self, images: Tensor) -> Tensor:
        channels, height, width = self.shape
        pixels = images.float()
        if pixels.shape[1] != channels:
            pixels = pixels.mean(dim=1, keepdim=True).expand(-1, channels, -1, -1)
        if pixels.shape[2:] != (height, width):
            pixels = interpolate(pixels, (height, width), mode="bilinear", antialias=True)
        return pixels.round().clamp(0, 255).to(torch.uint8)


def _marks_of(source: ImageSource, indices: Sequence[int]) -> Marks:
    digests = image_digests(source, indices)
    if digests is not None:
        return Marks(digests, exact=True)
    return image_marks(source, indices) or Marks([b""] * len(indices))


def add_out_of_distribution(data: ImageData, other: ImageData) -> ImageData:
    """Append the images of ``other`` to ``data`` with the label OUT_OF_CLASS.

    This is the pool of open-set active learning (arXiv:2201.06758). Indices and ids of ``data`` do not change. Ids of
    ``other`` are prefixed with the name of their data set.

    Raises DalError if one of them has no uint8 pixels, or if ``data`` has random transforms.

    >>> from dal.data.images import TensorSource
    >>> cats = ImageData("cats", TensorSource(torch.zeros(2, 1, 8, 8, dtype=torch.uint8)), ["a", "b"],
    ...                  torch.tensor([0, 1]), ["cat", "dog"], mean=[0.5], std=[0.5])
    >>> cars = ImageData("cars", TensorSource(torch.full((1, 3, 4, 4), 9, dtype=torch.uint8)), ["a"],
    ...                  torch.tensor([0]), ["car", "bus"], mean=[0.5], std=[0.5])
    >>> both = add_out_of_distribution(cats, cars)
    >>> both.ids, both.labels, both.source.batch([2, 0])[:, 0, 0, 0]
    (['a', 'b', 'cars:a'], tensor([ 0,  1, -2]), tensor([9, 0], dtype=torch.uint8))
    """
    for argument, one in (("data", data), ("other (data.outside_from)", other)):
        if (dtype := one.source.batch([0]).dtype) != torch.uint8:
            raise bad_value(argument, "images of uint8 pixels", dtype)
    if data.augmented_source is not None:
        raise bad_value("data", "images without random transforms", data.name)
    return replace(
        data,
        source=JoinedSource(data.source, other.source),
        ids=[*data.ids, *(f"{other.name}:{name}" for name in other.ids)],
        labels=torch.cat([data.labels, torch.full((len(other),), OUT_OF_CLASS)]),
        files=None,
    )
