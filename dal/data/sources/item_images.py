"""Reads images of data sets that another library decodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dal.data.image_sources import Marks
from dal.data.images import ImageSource, TensorSource
from dal.data.sources.content_marks import RememberedMarks, coarse_mark
from dal.data.sources.folder.decoding import MEMORY_LIMIT_BYTES, square
from dal.data.sources.folder.frames import FirstFrames
from dal.data.sources.folder.pixels import upright_rgb
from dal.data.sources.folder.progress import progress
from dal.errors import DalError, bad_value, reason

Fetch = Callable[[int], Image.Image]
"""Maps a position in a data set to the decoded image."""


_MAX_CHECKED = 32


class ItemSource:
    """Decodes images on each read, as (B, C, H, W) uint8.

    With an ``image_size``, each image is cropped to its center square and resized. Without it, images keep their size,
    and all must have the size of the first. ``gray`` images have one channel, others three. A warning names images with
    several frames, of which only the first is read. ``content`` returns the marks of images.
    """

    def __init__(
        self,
        fetch: Fetch,
        count: int,
        image_size: int | None,
        gray: bool = False,
        content: Callable[[Sequence[int]], Marks | None] = lambda indices: None,
    ) -> None:
        self.fetch, self.count, self.image_size, self.gray = fetch, count, image_size, gray
        self._marks = RememberedMarks(lambda indices: content(indices) or self._looks(indices))
        self._first: tuple[int, ...] | None = None
        self._first_frames = FirstFrames()

    def __len__(self) -> int:
        return self.count

    def batch(self, indices: Sequence[int]) -> Tensor:
        images = torch.stack([self._read(int(index)) for index in indices])
        self._first_frames.tell(f"{len(indices):,} images that are read")
        return images

    def marks(self, indices: Sequence[int]) -> Marks | None:
        """Return the marks of the content, or of the looks of up to 32 images."""
        return self._marks(indices)

    @property
    def image_bytes(self) -> int:
        """Size of an image in memory."""
        return self._read(0).numel()

    def read_all(self) -> Tensor:
        """Return all images."""
        first = self._read(0)
        images = first.new_empty(len(self), *first.shape)
        with progress(len(self)) as advance:
            for index in range(len(self)):
                images[index] = self._read(index)
                advance(1)
        self._first_frames.tell(f"{len(self):,} images")
        return images

    def _looks(self, indices: Sequence[int]) -> Marks:
        looked_at = {place * len(indices) // _MAX_CHECKED for place in range(_MAX_CHECKED)}
        values = [coarse_mark(self._read(int(i))) if n in looked_at else b"" for n, i in enumerate(indices)]
        return Marks(values, looks=True)

    def _read(self, index: int) -> Tensor:
        try:
            image = self.fetch(index)
            if not isinstance(image, Image.Image):
                raise bad_value(f"image {index}", "an image that Pillow decodes", type(image).__name__)
            pixels = self._pixels(image)
            self._first_frames.note(f"image {index}", image)
        except DalError:
            raise
        # Decoders raise exceptions of any type on damaged bytes.
        except Exception as error:
            raise DalError(f"image {index}: expected an image that can be decoded, got {reason(error)}.") from error
        if self._first is None:
            self._first = tuple(pixels.shape)
        if tuple(pixels.shape) != self._first:
            expected = f"a number, because images differ in size ({_size(self._first)}, {_size(pixels.shape)})"
            raise bad_value("data.image_size", expected, None)
        return pixels

    def _pixels(self, image: Image.Image) -> Tensor:
        if self.image_size is not None:
            pixels = square(image, self.image_size)
        else:
            pixels = torch.from_numpy(np.array(upright_rgb(image))).permute(2, 0, 1).contiguous()
        # The channels of a gray image are equal.
        return pixels[:1].clone() if self.gray else pixels


def in_memory_if_small(source: ItemSource, in_memory: bool | None) -> ImageSource:
    """Read all images into one uint8 tensor, depending on ``in_memory``.

    True reads them, False returns ``source``, and None reads them if they take less than 1 GiB.
    """
    if len(source) == 0:
        return source
    if in_memory is False or (in_memory is None and source.image_bytes * len(source) >= MEMORY_LIMIT_BYTES):
        return source
    return TensorSource(source.read_all())


def _size(shape: Sequence[int]) -> str:
    return f"{shape[-2]} x {shape[-1]}"
