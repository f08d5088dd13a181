"""Finds the files and arrays that a Dataset lists, so that changed images are noticed without decoding them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset, Subset

from dal.data.image_sources import Marks
from dal.data.sources.content_marks import array_marks, column_marks, file_marks
from dal.data.sources.datamodule import CollatedDataset
from dal.runtime.user_paths import is_file, is_folder

_DEEPEST = 4
_FROM_HUGGING_FACE = "datasets.arrow_dataset"


def place_in(dataset: Any) -> tuple[Any, list[int]]:
    """Return the whole dataset of nested Subsets, and the positions of the points in it."""
    places = list(range(len(dataset)))
    while isinstance(dataset, Subset):
        places = [int(dataset.indices[place]) for place in places]
        dataset = dataset.dataset
    return dataset, places


def listed_marks(dataset: Any, indices: Sequence[int], image: str | int | None = None) -> Marks | None:
    """Return marks of the files or images that a dataset lists for its points, or None if it lists none.

    The first list counts. It has an entry per point: a path, or a tuple that begins with a path or an array. It can be
    an array or a column of a table, too. A path may be relative to a folder that is another attribute of the dataset.
    ``image`` is the column of a Hugging Face dataset.
    """
    return _find(dataset, list(indices), image, _DEEPEST)


def _find(dataset: Any, indices: list[int], image: str | int | None, depth: int) -> Marks | None:
    whole, places = place_in(dataset)
    indices = [places[index] for index in indices]
    if isinstance(whole, CollatedDataset):
        return _find(whole.dataset, indices, image, depth)
    if type(whole).__module__ == _FROM_HUGGING_FACE:
        return column_marks(whole, str(image), indices) if image in whole.features else None
    attributes = list(getattr(whole, "__dict__", {}).values())
    folders = [Path(value) for value in attributes if isinstance(value, (str, Path)) and is_folder(value)]
    for values in _lists(attributes, len(whole)):
        marks = _marks_of(values, indices, [Path(), *folders])
        if marks is not None:
            return marks
    for value in attributes if depth else ():
        if isinstance(value, Dataset) and hasattr(value, "__len__") and len(value) == len(whole):
            marks = _find(value, indices, image, depth - 1)
            if marks is not None:
                return marks
    return None


def _lists(attributes: Sequence[Any], count: int) -> Iterator[Any]:
    """Yield the values with an entry per point that can be paths or images."""
    for value in attributes:
        if hasattr(value, "iloc") and hasattr(value, "columns"):  # a table of pandas
            columns = [value.iloc[:, place].tolist() for place in range(len(value.columns))]
        else:
            # The tensors of a TensorDataset.
            columns = list(value) if isinstance(value, tuple) and len(value) != count else [value]
        yield from (one for one in columns if _is_list(one) and len(one) == count)


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple)) or (isinstance(value, (Tensor, np.ndarray)) and value.ndim > 0)


def _marks_of(values: Any, indices: list[int], folders: Sequence[Path]) -> Marks | None:
    if isinstance(values, (Tensor, np.ndarray)) and values.ndim >= 3 and values.dtype != object:
        return array_marks(values, indices)
    first = _entry(values[0])
    # A list of arrays can be a cache that fills, so it is not read.
    if isinstance(values[0], (tuple, list)) and isinstance(first, (Tensor, np.ndarray)) and first.ndim >= 2:
        rows = [_entry(values[index]) for index in indices]
        return array_marks(rows, range(len(rows))) if all(isinstance(row, type(first)) for row in rows) else None
    if isinstance(first, (str, Path)):
        for folder in folders:
            if is_file(folder / first):
                return file_marks([folder / str(_entry(values[index])) for index in indices])
    return None


def _entry(value: Any) -> Any:
    return value[0] if isinstance(value, (tuple, list)) and value else value
