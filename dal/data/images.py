"""ImageData: images with stable ids and labels, plain and augmented.

The plain view is what scoring and testing see; the augmented view is what training sees. An index is always a position
in this data set; an id is what people see.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from dal.errors import bad_value
from dal.tasks import CLASSIFICATION, Task

Augmentation = Callable[[Tensor, torch.Generator], Tensor]
"""(B, C, H, W) images and a CPU generator to images of the same shape and dtype."""


class ImageSource(Protocol):
    """A source of images: a tensor, a folder, or another Dataset."""

    def __len__(self) -> int: ...

    def batch(self, indices: Sequence[int]) -> Tensor:
        """(B, C, H, W) uint8 pixels, or float32 pixels that their owner has normalized already."""
        ...


class AugmentedSource(Protocol):
    """Images whose owner brings random transforms: each read draws them anew."""

    def __len__(self) -> int: ...

    def augmented_batch(self, indices: Sequence[int], generator: torch.Generator) -> Tensor:
        """As ImageSource.batch, with randomness from the CPU generator alone, so that workers do not matter."""
        ...


class TensorSource:
    """Images held in memory as one uint8 tensor and read by index, a batch at a time.

    >>> TensorSource(torch.zeros(5, 1, 8, 8, dtype=torch.uint8)).batch([4, 0]).shape
    torch.Size([2, 1, 8, 8])
    """

    def __init__(self, images: Tensor) -> None:
        if images.dtype != torch.uint8 or images.ndim != 4:
            raise bad_value("images", "a uint8 tensor (N, C, H, W)", f"{images.dtype} {tuple(images.shape)}")
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: Sequence[int]) -> Tensor:
        return self.images[torch.as_tensor(indices, dtype=torch.int64)]


@dataclass(frozen=True, eq=False)
class ImageData:
    """Images of one split, and the task that says what their labels are.

    For classification ``labels`` is (N,) int64 with -1 (UNKNOWN) where the label is unknown, and -2 (OUT_OF_CLASS)
    for an image of none of the classes; ``classes`` are names.

    Raises DalError where ids repeat, lengths differ, or a label is not a class.

    >>> data = ImageData("toy", TensorSource(torch.zeros(2, 1, 8, 8, dtype=torch.uint8)), ["a", "b"],
    ...                  torch.tensor([0, -1]), ["cat", "dog"], mean=[0.5], std=[0.5])
    >>> data.plain([0, 1]).shape, data.num_classes
    (torch.Size([2, 1, 8, 8]), 2)
    """

    name: str
    source: ImageSource
    ids: Sequence[str]
    labels: Tensor
    classes: Sequence[str]
    mean: Sequence[float] = ()
    std: Sequence[float] = ()
    augmentation: Augmentation | None = None
    augmented_source: AugmentedSource | None = None
    set_aside: Mapping[str, str] = field(default_factory=dict)
    task: Task = CLASSIFICATION

    def __post_init__(self) -> None:
        count = len(self.source)
        if len(self.ids) != count:
            raise bad_value("ids", f"one for each of the {count} images", len(self.ids))
        if len(set(self.ids)) != count:
            raise bad_value("ids", "each id once", Counter(self.ids).most_common(1)[0][0])
        if len(self.classes) < 2:
            raise bad_value("classes", "at least two classes", list(self.classes))
        self.task.check(self.labels, count, len(self.classes))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the first image."""
        channels, height, width = self.plain([0]).shape[1:]
        return channels, height, width

    @property
    def statistics(self) -> tuple[Sequence[float], Sequence[float]] | None:
        """Mean and standard deviation that normalize the pixels, or None if the source does that itself."""
        return (self.mean, self.std) if self.source.batch([0]).dtype == torch.uint8 else None

    def plain(self, indices: Sequence[int]) -> Tensor:
        """(B, C, H, W) float32, normalized, never augmented."""
        return self._normalize(self.source.batch(indices))

    def augmented(self, indices: Sequence[int], generator: torch.Generator) -> Tensor:
        """(B, C, H, W) float32, augmented with randomness from the generator alone, then normalized."""
        if self.augmented_source is not None:
            images = self.augmented_source.augmented_batch(indices, generator)
        else:
            images = self.source.batch(indices)
        if self.augmentation is not None:
            images = self.augmentation(images, generator)
        return self._normalize(images)

    def _normalize(self, images: Tensor) -> Tensor:
        if images.dtype != torch.uint8:
            return images.float()
        # An empty mean would broadcast one channel to none without a word.
        for argument, value in (("mean", self.mean), ("std", self.std)):
            if len(value) not in (1, images.shape[1]):
                raise bad_value(argument, f"one number for each of the {images.shape[1]} channels", list(value))
        mean = torch.tensor(self.mean, dtype=torch.float32).view(-1, 1, 1) * 255
        std = torch.tensor(self.std, dtype=torch.float32).view(-1, 1, 1) * 255
        return (images - mean) / std

    def subset(self, indices: Sequence[int]) -> ImageData:
        """These points alone, renumbered from 0; ids stay."""
        wanted = torch.as_tensor(indices, dtype=torch.int64)
        return replace(
            self,
            source=SubsetSource(self.source, wanted.tolist()),
            augmented_source=self.augmented_source and SubsetAugmentedSource(self.augmented_source, wanted.tolist()),
            ids=[self.ids[i] for i in wanted.tolist()],
            labels=self.labels[wanted],
        )

    def trainable(self, points: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Of (L,) indices and their labels those that training can learn from."""
        indices, labels = points
        inside = self.task.trainable(labels)
        return indices[inside], labels[inside]

    def fingerprint(self) -> str:
        """Changes when ids, their order or the classes change. Pixels and labels are not read."""
        digest = hashlib.blake2b(digest_size=8)
        for text in (*self.classes, "\x1e", *self.ids):
            digest.update(text.encode(errors="surrogatepass") + b"\x1f")
        return digest.hexdigest()


def known_indices(data: ImageData) -> Tensor:
    """(M,) int64 positions of the points whose label is known and can be tested on."""
    return data.task.known(data.labels).nonzero().flatten()


class SubsetSource:
    """Some images of another source, renumbered from 0."""

    def __init__(self, source: ImageSource, indices: Sequence[int]) -> None:
        self.source, self.indices = source, indices

    def __len__(self) -> int:
        return len(self.indices)

    def batch(self, indices: Sequence[int]) -> Tensor:
        return self.source.batch([self.indices[i] for i in indices])


class SubsetAugmentedSource:
    """Some images of another augmented source, renumbered from 0."""

    def __init__(self, source: AugmentedSource, indices: Sequence[int]) -> None:
        self.source, self.indices = source, indices

    def __len__(self) -> int:
        return len(self.indices)

    def augmented_batch(self, indices: Sequence[int], generator: torch.Generator) -> Tensor:
        return self.source.augmented_batch([self.indices[i] for i in indices], generator)


class ImageSplits(NamedTuple):
    """A training set, whose points are the pool, and a test set that is never trained on or chosen from."""

    train: ImageData
    test: ImageData | None
