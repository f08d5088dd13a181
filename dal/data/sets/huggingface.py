"""Image classification data sets in the format of Hugging Face's datasets library."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch

from dal.data.images import ImageData, ImageSplits
from dal.data.sets.config import DataConfig
from dal.data.sets.photographs import MEAN, STD, augmentation
from dal.data.sources.content_marks import column_marks
from dal.data.sources.folder.decoding import open_limited
from dal.data.sources.folder.formats import any_format, formats
from dal.data.sources.folder.names import check_distinct, check_listed_names, composed
from dal.data.sources.folder.sizes import regular_file
from dal.data.sources.item_images import ItemSource, in_memory_if_small
from dal.data.sources.split import split_by_id
from dal.errors import DalError, bad_content, bad_value, reason, unknown_choice
from dal.runtime.hub import offline_if_unreachable
from dal.runtime.ranges import Ranges, share, whole
from dal.runtime.user_paths import exists, user_path
from dal.tasks.base import UNKNOWN

_LABELS = "one class per image: a ClassLabel, texts or whole numbers"
_FORMATS = {".parquet": "parquet", ".arrow": "arrow"}


@dataclass
class HuggingFace(DataConfig):
    """Images and labels from two columns of a data set.

    Images are uint8 (3, H, W), and ids have the form ``train-000001``. ``path`` is a folder written by
    ``save_to_disk``, a folder of images or parquet files, a parquet or arrow file, or a name on the Hugging Face hub,
    which is downloaded. The classes are the names of a ClassLabel column, the strings in the column, or whole numbers
    from 0 without a gap. A point with an empty label is unlabeled.

    Raises DalError if the package datasets is missing, if the data set cannot be read, or if columns are missing or do
    not contain images and single labels. Also raises it if two class names look the same, or if both splits are one.

    >>> from dal.data import load
    >>> load(HuggingFace())
    Traceback (most recent call last):
    dal.errors.DalError: data.path: expected a folder, a file or a name on the hub, got ''.
    """

    ranges: ClassVar[Ranges] = DataConfig.ranges | {
        "test_fraction": share(below=True),
        "image_size": whole(1, 4096, null=True),
    }

    path: str = ""
    """Folder, parquet or arrow file, or name of the data set on the hub."""
    config: str | None = None
    """Name of the data set's configuration on the hub; null uses the default configuration."""
    train_split: str = "train"
    """Split whose images are the pool."""
    test_split: str | None = "test"
    """Split with the test set; null takes test images from the training split."""
    test_fraction: float = 0.2
    """Share of the labeled images that become the test set if test_split is null."""
    image: str = "image"
    """Column of the images."""
    label: str = "label"
    """Column of the labels."""
    horizontal_flip: bool = False
    """Whether training flips images horizontally; turn it off if a flip changes the class."""
    image_size: int | None = 64
    """Side length in pixels to which images are cropped and resized; null keeps their size, one for all images."""
    in_memory: bool | None = None
    """Whether to keep all pixels in memory; null does so if they take less than 1 GiB."""

    def read(self) -> ImageSplits:
        if not self.path:
            raise bad_value("data.path", "a folder, a file or a name on the hub", self.path)
        splits = self._open()
        wanted = {"data.train_split": self.train_split}
        if self.test_split is not None:
            if self.test_split == self.train_split:
                expected = "another split than data.train_split, or null to take test images from it"
                raise bad_value("data.test_split", expected, self.test_split)
            wanted["data.test_split"] = self.test_split
        for argument, name in wanted.items():
            if name not in splits:
                hint = ", or null to take test images from the training split" if "test" in argument else ""
                raise DalError(f"{argument}: expected one of {', '.join(splits)}{hint}, got {name!r}.")
        tables = [self._checked(splits[name]) for name in wanted.values()]
        columns = [[_cleaned(value) for value in table[self.label][:]] for table in tables]
        classes = self._classes(tables, columns)
        data = [
            self._data(split, table, column, classes)
            for split, table, column in zip(("train", "test"), tables, columns, strict=False)
        ]
        return ImageSplits(data[0], data[1]) if len(data) == 2 else split_by_id(data[0], self.test_fraction)

    def _open(self) -> Mapping[str, Any]:
        """Return the splits by name."""
        try:
            import datasets
        except ImportError as error:
            raise DalError("data: expected the package datasets, got none. Run pip install datasets.") from error
        if int(datasets.__version__.partition(".")[0]) < 4:
            # Older versions run Python files that lie in the folder of a data set.
            raise bad_value("data", "version 4 or newer of the package datasets", datasets.__version__)
        path = user_path(self.path)
        try:
            if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
                found = datasets.load_from_disk(str(path))
            elif path.suffix in _FORMATS and path.is_file():
                found = datasets.load_dataset(_FORMATS[path.suffix], data_files=str(path))
            elif exists(path):
                found = datasets.load_dataset(str(path), self.config)
            else:
                with offline_if_unreachable():
                    found = datasets.load_dataset(self.path, self.config)
        # The library and the network below it raise exceptions of many types.
        except Exception as error:
            expected = "a data set that the datasets library can read, or a network to download it"
            raise DalError(f"data.path: expected {expected}, got {self.path!r} ({reason(error)}).") from error
        return found if isinstance(found, dict) else {self.train_split: found}

    def _checked(self, table: Any) -> Any:
        """Return the table with a column of decoded images."""
        from datasets import ClassLabel, Image, Value

        for argument, column in (("data.image", self.image), ("data.label", self.label)):
            if column not in table.features:
                raise unknown_choice(argument, table.features, column)
        kind = table.features[self.image]
        if not isinstance(kind, Image) and not _is_encoded(kind):
            raise bad_content("data.image", "a column of images", f"{self.image} of {kind}")
        if not isinstance(table.features[self.label], ClassLabel | Value):
            raise bad_content("data.label", _LABELS, f"{self.label} of {table.features[self.label]}")
        if not isinstance(kind, Image) or not kind.decode:
            table = table.cast_column(self.image, Image())
        empty = _without_image(table, self.image)
        if empty:
            expected = "an image in each row (datasets.Dataset.filter drops rows)"
            raise bad_content("data.image", expected, f"none in {len(empty):,} rows, such as row {empty[0]}")
        return table

    def _classes(self, tables: list[Any], columns: list[list[Any]]) -> list[str]:
        from datasets import ClassLabel

        feature, *others = (table.features[self.label] for table in tables)
        for other in others:
            if getattr(other, "names", None) != getattr(feature, "names", None):
                raise bad_value("data.label", f"the same classes in both splits, {feature}", str(other))
        if isinstance(feature, ClassLabel):
            names = list(feature.names)
            check_listed_names("data.label", names)
            return names
        values = {value for column in columns for value in column if value is not None}
        if values and all(isinstance(value, str) for value in values):
            check_distinct("data.label", values, where="a ClassLabel")
            return sorted(values)
        if values and all(isinstance(value, int) and value >= UNKNOWN for value in values):
            numbers = sorted(int(value) for value in values - {UNKNOWN})
            if numbers != list(range(len(numbers))):
                expected = "whole numbers from 0 without a gap (or a ClassLabel, or texts)"
                raise bad_value("data.label", expected, numbers)
            return [str(number) for number in numbers]
        raise bad_value("data.label", _LABELS, str(feature))

    def _items(self, table: Any) -> ItemSource:
        """Return the images, which the decoder for folders reads."""
        from datasets import Image

        feature = table.features[self.image]
        images = table.select_columns([self.image])
        if getattr(feature, "mode", None) is None:
            images = images.cast_column(self.image, Image(decode=False))

        def fetch(index: int) -> Any:
            found = images[index][self.image]
            return _opened(found, self.image_size, feature.decode_example) if isinstance(found, dict) else found

        return ItemSource(
            fetch, len(table), self.image_size, content=lambda indices: column_marks(table, self.image, indices)
        )

    def _data(self, split: str, table: Any, column: list[Any], classes: list[str]) -> ImageData:
        places = {name: number for number, name in enumerate(classes)}
        labels = [UNKNOWN if value is None else places.get(value, value) for value in column]
        bad = [value for value in labels if not isinstance(value, int) or not UNKNOWN <= value < len(classes)]
        if bad:
            raise bad_value(f"data.label of the {split} split", f"one of {len(classes)} classes", bad[0])
        source = in_memory_if_small(self._items(table), self.in_memory)
        return ImageData(
            name=Path(self.path).stem,
            source=source,
            ids=[f"{split}-{position:06d}" for position in range(len(table))],
            labels=torch.tensor(labels, dtype=torch.int64),
            classes=classes,
            mean=MEAN,
            std=STD,
            augmentation=augmentation(source.batch([0]).shape[-1], self.horizontal_flip),
        )


def _opened(found: Mapping[str, Any], image_size: int | None, decode: Callable[[Any], Any]) -> Any:
    """Return the image in the cell of a column, whose pixels are not read yet.

    ``decode`` is the decoder of the library, for a file that is not on this machine.
    """
    content, path = found["bytes"], found["path"] or ""
    if content is None and exists(Path(path)):
        with regular_file(Path(path)) as file:
            content = file.read()
    if content is None:
        return decode(found)
    suffix = Path(path).suffix
    return open_limited(io.BytesIO(content), formats(suffix) if suffix else any_format(), image_size)


def _is_encoded(kind: Any) -> bool:
    """Return whether a column contains the bytes of image files, as other libraries write them to parquet files."""
    value = kind.get("bytes") if isinstance(kind, dict) else kind
    return getattr(value, "dtype", None) in ("binary", "large_binary")


def _without_image(table: Any, column: str) -> list[int]:
    """Return the rows without an image. Only the Arrow table's lists of empty entries are read."""
    missing: list[bool] = []
    for chunk in table.data.column(column).chunks:
        # Parts that are empty: the bytes of a file, or its path.
        parts = [part.is_null().to_pylist() for part in (chunk.flatten() if chunk.type.num_fields else [chunk])]
        missing += [all(empty) for empty in zip(*parts, strict=True)]
    return [row for row, is_missing in enumerate(missing) if is_missing]


def _cleaned(value: Any) -> Any:
    """Return a text in composed form, a whole number as an int, and None for an empty text or NaN."""
    if isinstance(value, float) and (value.is_integer() or value != value):
        # A column of whole numbers and gaps is one of floats in other libraries.
        return int(value) if value.is_integer() else None
    if not isinstance(value, str):
        return value
    return composed(value) if value.strip() else None
