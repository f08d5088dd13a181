"""Finds the files and arrays that a Dataset lists, so that changed images are noticed without decoding them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset, Subset

from dal.data.image_sources import Marks
from dal.data.sources.content_marks import RememberedMarks, array_marks, column_marks, file_marks, has_bytes
from dal.data.sources.datamodule import CollatedDataset
from dal.data.sources.folder.formats import suffixes
from dal.runtime.user_paths import is_file, is_folder

_DEEPEST = 4
_FEW = 8
_PATHS = (str, Path)
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
    an array, a column of a table, a key of dictionaries, or a dictionary by position, too. A path may be relative to a
    folder that is another attribute of the dataset, and then lack its suffix. ``image`` is the column of a Hugging Face
    dataset.
    """
    return _find(dataset, list(indices), image, _DEEPEST)


class ListedMarks:
    """Computes the marks of the files or arrays that a dataset lists, as listed_marks() does, once.

    The marks are not ``exact`` if points share a file or an array but differ, such as slices of a volume. ``read``
    returns the image of a point. A list that changes when images are read is a cache and has no marks.
    """

    def __init__(self, dataset: Any, image: str | int | None, read: Callable[[int], Tensor]) -> None:
        self._dataset, self._image, self._read = dataset, image, read
        self._is_cache = False
        self._marks = RememberedMarks(self._compute)

    def __call__(self, indices: Sequence[int]) -> Marks | None:
        return self._marks(indices)

    @contextmanager
    def reading(self, indices: Sequence[int]) -> Iterator[None]:
        """Compare the lists before and after these images are read."""
        few = indices[:: max(1, len(indices) // _FEW)]
        before = listed_marks(self._dataset, few, self._image)
        yield
        self._is_cache = listed_marks(self._dataset, few, self._image) != before

    def _compute(self, indices: Sequence[int]) -> Marks | None:
        marks = None if self._is_cache else listed_marks(self._dataset, indices, self._image)
        if marks is None or not marks.exact:
            return marks
        first: dict[bytes, int] = {}
        pairs = [
            (first[mark], i) for i, mark in zip(indices, marks.values, strict=True) if first.setdefault(mark, i) != i
        ]
        few = pairs[:: max(1, len(pairs) // _FEW)]
        return marks._replace(exact=all(self._read(one).equal(self._read(other)) for one, other in few))


def _find(dataset: Any, indices: list[int], image: str | int | None, depth: int) -> Marks | None:
    whole, places = place_in(dataset)
    indices = [places[index] for index in indices]
    if isinstance(whole, CollatedDataset):
        return _find(whole.dataset, indices, image, depth)
    if type(whole).__module__ == _FROM_HUGGING_FACE:
        return column_marks(whole, str(image), indices) if image in whole.features else None
    count, attributes = len(whole), list(getattr(whole, "__dict__", {}).values())
    folders = [Path(), *(Path(value) for value in attributes if isinstance(value, _PATHS) and is_folder(value))]

    def in_lists(value: Any) -> Marks | None:
        found = (_marks_of(values, indices, folders) for values in _lists(value, count))
        return next((marks for marks in found if marks is not None), None)

    def in_dataset(value: Any) -> Marks | None:
        is_inner = depth > 0 and isinstance(value, Dataset) and hasattr(value, "__len__") and len(value) == count
        return _find(value, indices, image, depth - 1) if is_inner else None

    for find in (in_lists, in_dataset):
        for value in attributes:
            with suppress(Exception):  # an object of the user, such as a file that is opened later, may raise anything
                marks = find(value)
                if marks is not None:
                    return marks
    return None


def _lists(value: Any, count: int) -> Iterator[Any]:
    """Yield the lists in an attribute that have an entry per point and can be paths or images."""
    if type(value).__module__.partition(".")[0] == "pandas" and getattr(value, "ndim", 0) == 2:
        columns = [value.iloc[:, place] for place in range(value.shape[1])]
        columns = [column.tolist() for column in columns if column.dtype.kind == "O"]
    elif isinstance(value, dict) and value.keys() == set(range(count)):
        columns = [[value[place] for place in range(count)]]
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        columns = [[entry.get(key) for entry in value] for key, known in value[0].items() if isinstance(known, _PATHS)]
    else:
        # The tensors of a TensorDataset.
        columns = list(value) if isinstance(value, tuple) and len(value) != count else [value]
    yield from (one for one in columns if _is_list(one) and len(one) == count)


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple)) or (isinstance(value, (Tensor, np.ndarray)) and value.ndim > 0)


def _marks_of(values: Any, indices: list[int], folders: Sequence[Path]) -> Marks | None:
    if isinstance(values, (Tensor, np.ndarray)) and values.ndim >= 3:
        return array_marks(values, indices) if has_bytes(values) else None
    first = _entry(values[0])
    # A list of arrays can be a cache that fills, so it is not read.
    if isinstance(values[0], (tuple, list)) and isinstance(first, (Tensor, np.ndarray)) and first.ndim >= 2:
        rows = [_entry(values[index]) for index in indices]
        are_arrays = all(isinstance(row, type(first)) and has_bytes(row) for row in rows)
        return array_marks(rows, range(len(rows))) if are_arrays else None
    if isinstance(first, _PATHS) and str(first):
        for folder in folders:
            for suffix in ("", *(sorted(suffixes()) if folder.name else ())):
                if is_file(f"{folder / first}{suffix}"):
                    return file_marks([f"{folder / str(_entry(values[index]))}{suffix}" for index in indices])
    return None


def _entry(value: Any) -> Any:
    return value[0] if isinstance(value, (tuple, list)) and value else value
