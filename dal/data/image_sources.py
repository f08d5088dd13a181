"""Sources of images: in memory, and subsets of other sources."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from dal.errors import bad_content

DIGEST_BYTES = 8


class ImageSource(Protocol):
    """Interface of image sources such as tensors, folders and Datasets.

    A source can define ``digests(indices) -> list[bytes] | None``, which returns a digest of the content of each image.
    A resumed run then detects changed images. A source that would have to decode images for them can define
    ``marks(indices) -> Marks | None`` instead. A source of files that can disappear defines ``gaps``, the set of images
    without pixels, and ``missing(indices)``, which returns those of the images that are gone.
    """

    def __len__(self) -> int: ...

    def batch(self, indices: Sequence[int]) -> Tensor:
        """Return (B, C, H, W) uint8 pixels, or normalized float32 pixels."""
        ...


class Marks(NamedTuple):
    """What is known of the content of each image without decoding all of them.

    ``values`` are digests, which are empty for images of which nothing is known. With ``exact``, they are digests of
    the whole content, so images with equal values are equal. With ``looks``, they are digests of what images look like.
    """

    values: list[bytes]
    exact: bool = False
    looks: bool = False


class AugmentedSource(Protocol):
    """Interface of a source that applies random transforms on each read."""

    def __len__(self) -> int: ...

    def augmented_batch(self, indices: Sequence[int], generator: torch.Generator) -> Tensor:
        """Return images as ImageSource.batch does.

        All randomness comes from the CPU generator, so results do not depend on the number of workers.
        """
        ...


class TensorSource:
    """Keeps images in memory as one uint8 tensor.

    ``digests`` identify the content of the images. By default, they are computed from the pixels.

    >>> TensorSource(torch.zeros(5, 1, 8, 8, dtype=torch.uint8)).batch([4, 0]).shape
    torch.Size([2, 1, 8, 8])
    """

    def __init__(self, images: Tensor, digests: Sequence[bytes] | None = None) -> None:
        if images.dtype != torch.uint8 or images.ndim != 4:
            raise bad_content("images", "a uint8 tensor (N, C, H, W)", f"{images.dtype} {tuple(images.shape)}")
        self.images = images
        self._digests = {} if digests is None else dict(enumerate(digests))

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: Sequence[int]) -> Tensor:
        return self.images[torch.as_tensor(indices, dtype=torch.int64)]

    def digests(self, indices: Sequence[int]) -> list[bytes]:
        pixels = self.images.numpy(force=True)
        for index in indices:
            if index not in self._digests:
                self._digests[index] = digest([pixels[index].tobytes()])
        return [self._digests[index] for index in indices]


def digest(parts: Iterable[bytes | memoryview]) -> bytes:
    """Return the digest of the concatenation."""
    found = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for part in parts:
        found.update(part)
    return found.digest()


def image_digests(source: ImageSource, indices: Sequence[int]) -> list[bytes] | None:
    """Return a digest of each image's content, or None without digests."""
    digests: list[bytes] | None = source.digests(indices) if hasattr(source, "digests") else None
    return digests


def image_marks(source: object, indices: Sequence[int]) -> Marks | None:
    """Return the marks of images or masks, or None without marks."""
    marks: Marks | None = source.marks(indices) if hasattr(source, "marks") else None
    return marks


class SubsetSource:
    """Selects images of another source, renumbered from 0."""

    def __init__(self, source: ImageSource, indices: Sequence[int]) -> None:
        self.source, self.indices = source, indices

    def __len__(self) -> int:
        return len(self.indices)

    def batch(self, indices: Sequence[int]) -> Tensor:
        return self.source.batch([self.indices[i] for i in indices])

    def digests(self, indices: Sequence[int]) -> list[bytes] | None:
        return image_digests(self.source, [self.indices[i] for i in indices])

    def marks(self, indices: Sequence[int]) -> Marks | None:
        return image_marks(self.source, [self.indices[i] for i in indices])


def is_in_memory(source: ImageSource) -> bool:
    """Return whether a source, or that of a subset, is a tensor."""
    while isinstance(source, SubsetSource):
        source = source.source
    return isinstance(source, TensorSource)


class SubsetAugmentedSource:
    """Selects images of another augmented source, renumbered from 0."""

    def __init__(self, source: AugmentedSource, indices: Sequence[int]) -> None:
        self.source, self.indices = source, indices

    def __len__(self) -> int:
        return len(self.indices)

    def augmented_batch(self, indices: Sequence[int], generator: torch.Generator) -> Tensor:
        return self.source.augmented_batch([self.indices[i] for i in indices], generator)
