"""Converts a torchvision-style Dataset to ImageData."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import IterableDataset

from dal.data.image_sources import Marks
from dal.data.images import Augmentation, ImageData
from dal.data.sources.content_marks import coarse_mark, has_bytes
from dal.data.sources.datamodule import classes_of, dataset_of, is_datamodule
from dal.data.sources.finite_pixels import FinitePixels
from dal.data.sources.folder.frames import FirstFrames
from dal.data.sources.folder.pixels import dataset_pixels
from dal.data.sources.items import ItemKeys
from dal.data.sources.listed_content import ListedMarks, place_in
from dal.data.sources.torch_labels import class_names, default_ids, item_label, known_labels
from dal.data.sources.torch_masks import dataset_masks
from dal.errors import DalError, bad_content, bad_value, unknown_choice
from dal.runtime.seeding import isolated_cpu_rng, seed_cpu_generators
from dal.tasks import CLASSIFICATION
from dal.tasks.segmentation import SEGMENTATION

_MAX_CHECKED = 32
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_REMEDIES = {
    CLASSIFICATION.name: "Pass plain=, the same points without random transforms, for scoring.",
    SEGMENTATION.name: "Pass points without random transforms, and augmentation=, which moves the masks too.",
}


class MapDataset(Protocol):
    """Interface of a dataset with a length and items by position."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


def from_dataset(
    dataset: MapDataset | object,
    *,
    num_classes: int | None = None,
    classes: Sequence[str] | None = None,
    plain: MapDataset | None = None,
    labels: Sequence[Any] | Tensor | None = None,
    ids: Sequence[str] | None = None,
    name: str = "dataset",
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    image: str | int | None = None,
    label: str | int | None = None,
    split: str = "train",
    task: str = "classification",
    augmentation: Augmentation | None = None,
) -> ImageData:
    """Return a training set that trains on ``dataset`` and scores ``plain``.

    ``dataset[i]`` is an image or an (image, label, ...). An image is a tensor (uint8 (C, H, W), or normalized floating
    point), a PIL image (mode L stays gray, others become RGB), or a NumPy array (H, W, C). All have the same shape.
    ``mean`` and ``std``, one number or one per channel (0.5 by default, from -1 to 1), normalize uint8 images. Random
    transforms must draw from the global generators of torch, NumPy or ``random``, seeded for each image and restored.

    ``image`` and ``label`` are the places of image and label in other items: dict keys, tuple positions or attributes.
    A label is a class number or an exact one-hot row. ``split`` (train, val or test) selects the dataset of a
    LightningDataModule, which is read after its prepare_data() and setup() with seeded generators.
    With ``task="segmentation"``, a label is a mask, or None (see dal/data/README.md).

    ``plain`` contains the same points without random transforms. Without it, ``dataset`` is scored too. Training
    applies ``augmentation``, if any. The classes are ``classes``, ``num_classes`` numbers, or ``dataset.classes``. They
    are never inferred from labels, which may be hidden. ``labels`` has one entry per point, None or -1 if unknown. By
    default, labels come from ``dataset.targets``, ``.labels`` or ``.samples``, or each item is read once. ``ids``
    default to the paths in ``dataset.samples``, or to positions. A ``Subset`` keeps the ids of its dataset.

    Raises DalError if the classes are unknown or repeated, if lengths, labels or the two views do not match, or if the
    scored dataset has random transforms (checked by fetching up to 32 points twice).

    >>> images = torch.arange(3 * 64, dtype=torch.uint8).view(3, 1, 8, 8)
    >>> data = from_dataset(torch.utils.data.TensorDataset(images, torch.tensor([1, 0, 1])), classes=["cat", "dog"])
    >>> data.labels, data.plain([2]).shape
    (tensor([1, 0, 1]), torch.Size([1, 1, 8, 8]))
    """
    keys, given = ItemKeys(image, label), dataset
    named = {"augmentation": augmentation, **_datamodule(given), **_statistics(mean, std)}
    _check_task(task, plain)
    dataset = _checked("dataset", dataset_of(given, split))
    plain = None if plain is None else _checked("plain", dataset_of(plain, split))
    scored, trained = _views(dataset, plain, keys)
    names = class_names(dataset, *classes_of(given, classes, num_classes))
    scored.look_in_memory()
    with isolated_cpu_rng():
        _check_views(scored, trained, _REMEDIES[task])
        ids = default_ids(dataset) if ids is None else list(ids)
        if task == SEGMENTATION.name:
            height, width = scored.batch([0]).shape[-2:]
            masks, numbers = dataset_masks(scored.dataset, labels, keys, len(names), (height, width))
            return ImageData(name, scored, ids, numbers, names, task=SEGMENTATION, masks=masks, **named)
        numbers = known_labels(dataset, labels, scored.dataset, keys)
    return ImageData(name, scored, ids, numbers, names, augmented_source=trained, **named)


def _datamodule(given: object) -> dict[str, Any]:
    return {"datamodule": given} if is_datamodule(given) else {}


def _statistics(mean: Sequence[float] | None, std: Sequence[float] | None) -> dict[str, Any]:
    """Return the arguments of ImageData that normalize."""
    return {
        "mean": (0.5,) if mean is None else mean,
        "std": (0.5,) if std is None else std,
        "assumes_statistics": mean is None and std is None,
    }


def _check_task(task: str, plain: object) -> None:
    if task not in _REMEDIES:
        raise unknown_choice("task", _REMEDIES, task)
    if task == SEGMENTATION.name and plain is not None:
        expected = "none with task='segmentation' (pass points without random transforms, and augmentation=)"
        raise bad_value("plain", expected, type(plain).__name__)


def _views(dataset: MapDataset, plain: MapDataset | None, keys: ItemKeys) -> tuple[DatasetSource, DatasetSource | None]:
    """Return the sources for scoring and, if it has another, for training."""
    if len(dataset) == 0:
        raise bad_content("dataset", "at least one image", "an empty dataset")
    if plain is None:
        return DatasetSource(dataset, keys), None
    if len(plain) != len(dataset):
        raise bad_content("plain", f"the same {len(dataset)} points as dataset", f"{len(plain)} points")
    return DatasetSource(plain, keys), DatasetSource(dataset, keys)


def as_image_data(
    data: object, split: str = "train", classes: Sequence[str] | None = None, task: str = CLASSIFICATION.name
) -> ImageData:
    """Return ImageData as it is, or read a split of a LightningDataModule.

    Raises DalError for anything else.
    """
    if is_datamodule(data):
        return from_dataset(data, split=split, classes=classes, task=task)
    if not isinstance(data, ImageData):
        raise bad_value("data", "ImageData, such as from_dataset(...) for a Dataset", type(data).__name__)
    return data


def _checked(argument: str, dataset: Any) -> MapDataset:
    """Return the dataset, which must have a length and positions."""
    has_both = hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")
    if not has_both or isinstance(dataset, (IterableDataset, str, bytes)):
        expected = "a dataset with a length and positions, which a stream does not have"
        raise bad_value(argument, expected, type(dataset).__name__)
    checked: MapDataset = dataset
    return checked


class DatasetSource:
    """Reads images of a Dataset with the global random generators seeded."""

    def __init__(self, dataset: MapDataset, keys: ItemKeys | None = None) -> None:
        self.dataset, self.keys = dataset, keys or ItemKeys()
        self._seen: dict[int, bytes] = {}  # marks of images by position
        self.listed = ListedMarks(dataset, self.keys.image, self._comparable)
        self._first_frames, self._finite = FirstFrames(), FinitePixels()

    def __len__(self) -> int:
        return len(self.dataset)

    def batch(self, indices: Sequence[int]) -> Tensor:
        # A fixed seed keeps scores constant even if a random transform passed the check.
        return self._seeded(indices, [int(index) for index in indices])

    def augmented_batch(self, indices: Sequence[int], generator: torch.Generator) -> Tensor:
        return self._seeded(indices, torch.randint(2**62, (len(indices),), generator=generator).tolist())

    def _seeded(self, indices: Sequence[int], seeds: Sequence[int]) -> Tensor:
        images: list[Tensor] = []
        with isolated_cpu_rng():
            for index, seed in zip(map(int, indices), seeds, strict=True):
                image = self.fetch(index, seed)[0]
                if images and (image.shape != images[0].shape or image.dtype != images[0].dtype):
                    expected = f"one shape and dtype, {_kind(images[0])} as in image {indices[0]}"
                    raise bad_content("dataset", expected, f"{_kind(image)} of image {index}")
                images.append(image)
        self.tell_first_frames(f"{len(images):,} images that are read")
        return torch.stack(images)

    def fetch(self, index: int, seed: int) -> tuple[Tensor, int | None]:
        """Seed the global CPU generators, and return the image and any label."""
        seed_cpu_generators(seed)
        item = self.dataset[index]
        image = self.keys.image_of(item, index)
        pixels = _pixels(image, index)
        self._first_frames.note(f"image {index}", image)
        self._finite.note(index, pixels)
        return pixels, item_label(item, index, self.keys)

    def _comparable(self, index: int) -> Tensor:
        return self.batch([index])[0].nan_to_num()

    def remember(self, index: int, image: Tensor) -> None:
        """Remember what an image of the data set looks like, for marks()."""
        self._seen[index] = coarse_mark(image)

    def marks(self, indices: Sequence[int]) -> Marks | None:
        """Return marks of the files or arrays that the dataset lists, or else of the images that were remembered."""
        listed = self.listed(indices)
        if listed is not None:
            return listed
        seen = [self._seen.get(int(index), b"") for index in indices]
        return Marks(seen, looks=True) if any(seen) else None

    def look_in_memory(self) -> None:
        """Warn about images in memory with pixels that are not finite."""
        self._finite.look_in_memory(*place_in(self.dataset))

    def tell_first_frames(self, found: str) -> None:
        """Warn about images with several frames so far, among those that ``found`` describes."""
        self._first_frames.tell(found)


def _pixels(image: object, index: int) -> Tensor:
    """Return the image as (C, H, W), uint8 or floating point."""
    if isinstance(image, Image.Image):
        mode = image.mode
        try:
            image = dataset_pixels(image)
        except ValueError as error:
            raise DalError(f"dataset[{index}]: expected an image of 8 or 16 bits, got mode {mode}: {error}.") from None
    if isinstance(image, np.ndarray):
        if image.ndim == 3 and image.shape[2] > image.shape[0]:
            raise bad_content(f"dataset[{index}]", "a NumPy image (H, W, C)", f"an array {image.shape}")
        image = torch.from_numpy(np.array(image))
        if image.ndim == 3:
            image = image.permute(2, 0, 1)
    if not isinstance(image, Tensor):
        raise bad_value(f"dataset[{index}]", "a tensor, a PIL image or a NumPy array", type(image).__name__)
    if not has_bytes(image):
        expected = "a dense tensor of pixels, as image.to_dense() gives for a sparse one"
        raise bad_content(f"dataset[{index}]", expected, f"{_dtype(image)} of another layout")
    if image.ndim == 2:
        image = image.unsqueeze(0)
    if image.ndim != 3 or not (image.dtype == torch.uint8 or image.dtype in _FLOATS):
        raise bad_value(f"dataset[{index}]", "an image (C, H, W), uint8 or floating point", _kind(image))
    if _has_channels_last(image):
        expected = "a tensor (C, H, W), as image.permute(2, 0, 1) gives for (H, W, C)"
        raise bad_content(f"dataset[{index}]", expected, _kind(image))
    return image


def _has_channels_last(image: Tensor) -> bool:
    """Return whether a tensor looks like (H, W, C) instead of (C, H, W)."""
    first, second, last = image.shape
    # Features (D, 1, 1) and signals (D, L, 1) are no images of one channel.
    return first > 4 and second > 4 and (last in (3, 4) or (last == 1 and first == second))


def _kind(image: Tensor) -> str:
    return f"{_dtype(image)} {tuple(image.shape)}"


def _dtype(image: Tensor) -> str:
    return str(image.dtype).removeprefix("torch.")


def _check_views(scored: DatasetSource, trained: DatasetSource | None, remedy: str) -> None:
    """Reject random transforms while scoring, and views that do not match."""
    count = min(len(scored), _MAX_CHECKED)
    places = [position * len(scored) // count for position in range(count)]
    with scored.listed.reading(places):
        _check_places(places, scored, trained, remedy)
    scored.tell_first_frames(f"{count} images that are checked")


def _check_places(places: Sequence[int], scored: DatasetSource, trained: DatasetSource | None, remedy: str) -> None:
    argument = "dataset" if trained is None else "plain"
    for index in places:
        first, label = scored.fetch(index, 2 * index)
        second, _ = scored.fetch(index, 2 * index + 1)
        scored.remember(index, first)
        if first.shape != second.shape or not torch.equal(first.nan_to_num(), second.nan_to_num()):
            what = f"the same image each time point {index} is fetched"
            raise DalError(f"{argument}: expected {what}, got two different ones. {remedy}")
        if trained is None:
            continue
        image, trained_label = trained.fetch(index, 0)
        if _kind(image) != _kind(first):
            raise bad_value("plain", f"{_kind(image)} for point {index} as in dataset", _kind(first))
        if label is not None and trained_label is not None and trained_label != label:
            raise bad_value("plain", f"label {trained_label} for point {index} as in dataset", label)
