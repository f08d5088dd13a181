"""A user's own torchvision-style Dataset as ImageData, in one line."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from dal.data.images import ImageData
from dal.data.sources.torch_labels import class_names, default_ids, item_label, known_labels
from dal.errors import DalError, bad_value

_MAX_CHECKED = 32


class MapDataset(Protocol):
    """What is asked of a dataset: a length, and an image or an (image, label, ...) at each position."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


def from_dataset(
    dataset: MapDataset,
    *,
    num_classes: int | None = None,
    classes: Sequence[str] | None = None,
    plain: MapDataset | None = None,
    labels: Sequence[int | None] | Tensor | None = None,
    ids: Sequence[str] | None = None,
    name: str = "dataset",
    mean: Sequence[float] = (0.5,),
    std: Sequence[float] = (0.5,),
) -> ImageData:
    """``dataset[i] -> (image, label)`` as a training set: ``dataset`` is trained on, ``plain`` is scored.

    An image is a tensor (uint8 (C, H, W), or floating point that is normalized already), a PIL image, or a NumPy array
    (H, W, C); all have one shape. ``mean`` and ``std``, one number or one a channel, normalize uint8 images and leave
    floating point alone. Random transforms in ``dataset`` must draw from the global generators of torch, NumPy or
    ``random``: these are seeded for each image and put back, so results repeat with any number of workers.

    ``plain`` holds the same points without random transforms; without it, ``dataset`` itself is scored, and training
    has no augmentation. Classes are named by ``classes`` or counted by ``num_classes``, else they are
    ``dataset.classes``, and never counted from labels, which may be hidden. ``labels`` has one entry a point, None or
    -1 where it is unknown; without it, they come from ``dataset.targets``, ``.labels`` or ``.samples``, else each item
    is read once. ``ids`` are by default the paths in ``dataset.samples``, else positions; a ``Subset`` keeps those of
    the dataset that it is of.

    Raises DalError where the classes are not known, lengths, labels or the two views do not fit together, or what is
    scored has random transforms (up to 32 points are fetched twice to see).

    >>> images = torch.arange(3 * 64, dtype=torch.uint8).view(3, 1, 8, 8)
    >>> data = from_dataset(torch.utils.data.TensorDataset(images, torch.tensor([1, 0, 1])), classes=["cat", "dog"])
    >>> data.labels, data.plain([2]).shape
    (tensor([1, 0, 1]), torch.Size([1, 1, 8, 8]))
    """
    for argument, view in (("dataset", dataset), ("plain", plain)):
        if view is not None and not (hasattr(view, "__len__") and hasattr(view, "__getitem__")):
            raise bad_value(argument, "a dataset with a length and positions", type(view).__name__)
    if len(dataset) == 0:
        raise bad_value("dataset", "at least one image", "an empty dataset")
    scored = dataset if plain is None else plain
    if len(scored) != len(dataset):
        raise bad_value("plain", f"the same {len(dataset)} points as dataset", f"{len(scored)} points")
    names = class_names(dataset, classes, num_classes)
    with _isolated():
        _check_views(dataset, scored, "dataset" if plain is None else "plain")
        numbers = known_labels(dataset, labels, read=scored)
    return ImageData(
        name=name,
        source=DatasetSource(scored),
        ids=default_ids(dataset) if ids is None else list(ids),
        labels=numbers,
        classes=names,
        mean=mean,
        std=std,
        augmented_source=None if plain is None else DatasetSource(dataset),
    )


class DatasetSource:
    """Images of a Dataset, with every random number they draw from the global generators under control."""

    def __init__(self, dataset: MapDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def batch(self, indices: Sequence[int]) -> Tensor:
        # Should some randomness have passed the check, a fixed seed still keeps scores from changing.
        return self._seeded(indices, [int(index) for index in indices])

    def augmented_batch(self, indices: Sequence[int], generator: torch.Generator) -> Tensor:
        return self._seeded(indices, torch.randint(2**62, (len(indices),), generator=generator).tolist())

    def _seeded(self, indices: Sequence[int], seeds: Sequence[int]) -> Tensor:
        images: list[Tensor] = []
        with _isolated():
            for index, seed in zip(map(int, indices), seeds, strict=True):
                image = _fetch(self.dataset, index, seed)[0]
                if images and (image.shape != images[0].shape or image.dtype != images[0].dtype):
                    expected = f"one shape and dtype, {_kind(images[0])} as of image {indices[0]}"
                    raise bad_value("dataset", expected, f"{_kind(image)} of image {index}")
                images.append(image)
        return torch.stack(images)


@contextmanager
def _isolated() -> Iterator[None]:
    """Put the global CPU generators back on leaving. CUDA's are left alone: images are read in forked workers, where
    CUDA must not be touched."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.set_rng_state(states[2])


def _fetch(dataset: MapDataset, index: int, seed: int) -> tuple[Tensor, int | None]:
    """The image and, where the item has one that is a number, the label, with the global CPU generators seeded."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    # torch.manual_seed would seed CUDA as well.
    torch.default_generator.manual_seed(seed)
    item = dataset[index]
    image = item[0] if isinstance(item, (tuple, list)) else item
    return _pixels(image, index), item_label(item)


def _pixels(image: object, index: int) -> Tensor:
    """(C, H, W), uint8 or floating point."""
    from PIL import Image

    if isinstance(image, Image.Image):
        image = np.array(image if image.mode in ("L", "RGB") else image.convert("RGB"))
    if isinstance(image, np.ndarray):
        if image.ndim == 3 and image.shape[2] > image.shape[0]:
            raise bad_value(f"dataset[{index}]", "a NumPy image (H, W, C)", f"an array {image.shape}")
        image = torch.from_numpy(np.array(image))
        if image.ndim == 3:
            image = image.permute(2, 0, 1)
    if not isinstance(image, Tensor):
        raise bad_value(f"dataset[{index}]", "a tensor, a PIL image or a NumPy array", type(image).__name__)
    if image.ndim == 2:
        image = image.unsqueeze(0)
    if image.ndim != 3 or not (image.dtype == torch.uint8 or image.is_floating_point()):
        raise bad_value(f"dataset[{index}]", "an image (C, H, W), uint8 or floating point", _kind(image))
    return image


def _kind(image: Tensor) -> str:
    return f"{str(image.dtype).removeprefix('torch.')} {tuple(image.shape)}"


def _check_views(dataset: MapDataset, scored: MapDataset, argument: str) -> None:
    """Refuse what would go wrong in silence: random transforms while scoring, and two views that do not match."""
    count = min(len(scored), _MAX_CHECKED)
    for index in (position * len(scored) // count for position in range(count)):
        (first, label), (second, _) = _fetch(scored, index, 2 * index), _fetch(scored, index, 2 * index + 1)
        if first.shape != second.shape or not torch.equal(first.nan_to_num(), second.nan_to_num()):
            raise DalError(
                f"{argument}: expected the same image each time point {index} is fetched, got two different ones; pass "
                "plain=, the same points without random transforms, for scoring."
            )
        if scored is dataset:
            continue
        trained, trained_label = _fetch(dataset, index, 0)
        if _kind(trained) != _kind(first):
            raise bad_value("plain", f"{_kind(trained)} for point {index} as in dataset", _kind(first))
        if label is not None and trained_label is not None and trained_label != label:
            raise bad_value("plain", f"label {trained_label} for point {index} as in dataset", label)
