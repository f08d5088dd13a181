"""Pool: the labeled and unlabeled points of a training set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dal.errors import DalError, bad_value
from dal.tasks import CLASSIFICATION, Task
from dal.tasks.classification import NotALabelError, whole_number

UNLABELED = -1


class Pool:
    """The labeled and unlabeled points of a training set of ``size`` images.

    Indices are positions in that set. ``excluded`` points are neither candidates nor labeled, such as validation images
    and images that cannot be labeled.

    >>> pool = Pool(size=4, num_classes=2)
    >>> pool.label([2, 0], [1, 0], round=0)
    >>> pool.labeled.tolist(), pool.unlabeled.tolist(), pool.labels(pool.labeled).tolist()
    ([2, 0], [1, 3], [1, 0])
    """

    def __init__(self, size: int, num_classes: int, excluded: Sequence[int] = (), task: Task = CLASSIFICATION) -> None:
        if size < 1:
            raise bad_value("size", "at least one point", size)
        self.size, self.num_classes, self.task = size, num_classes, task
        self._labels = task.unlabeled(size, num_classes)
        self._rounds = torch.full((size,), UNLABELED, dtype=torch.int64)
        self._order: list[int] = []
        self._candidate = torch.ones(size, dtype=torch.bool)
        self.set_aside: set[int] = set()
        """Points that are excluded until an answer says otherwise: people are unsure, or cannot see the image."""
        self.exclude(excluded)

    def check_fits(self, size: int, num_classes: int, task: Task) -> None:
        """Raise DalError unless the pool has this number of points and classes, and this task."""
        expected, got = (size, num_classes, task.name), (self.size, self.num_classes, self.task.name)
        if got != expected:
            words = ["{} points of {} classes ({})".format(*what) for what in (expected, got)]
            raise bad_value("pool", f"{words[0]} to match the data", words[1])

    @property
    def labeled(self) -> Tensor:
        """(L,) int64 indices of the labeled points, in labeling order."""
        return torch.tensor(self._order, dtype=torch.int64)

    @property
    def unlabeled(self) -> Tensor:
        """(U,) int64 indices of the candidates, ascending."""
        return self._candidate.nonzero().flatten()

    @property
    def num_labeled(self) -> int:
        return len(self._order)

    @property
    def num_unlabeled(self) -> int:
        return int(self._candidate.sum())

    def labels(self, indices: Tensor) -> Tensor:
        """Return the labels of (B,) points in the format of the task.

        For classification they are (B,) int64, -1 for unlabeled points.
        """
        return self._labels[indices]

    def rounds(self, indices: Tensor) -> Tensor:
        """Return the (B,) int64 labeling rounds, -1 for unlabeled points."""
        return self._rounds[indices]

    def exclude(self, indices: Sequence[int]) -> None:
        """Remove points from the pool without labeling them."""
        self._candidate[self._check_indices(indices)] = False

    def label(self, indices: Sequence[int], labels: Sequence[Any], round: int) -> None:
        """Record the labels of points: classes, or OUT_OF_CLASS (-2).

        Raises DalError, and changes nothing, for an index that is out of range, repeated, already labeled or excluded,
        and for an invalid label.
        """
        positions = self._check_indices(indices)
        if len(labels) != len(positions):
            raise bad_value("labels", f"one for each of the {len(positions)} indices", len(labels))
        values = self._encoded(positions, labels)
        for index in positions:
            if self._rounds[index] != UNLABELED:
                since = int(self._rounds[index])
                raise DalError(f"indices: expected unlabeled points, got {index}, labeled in round {since}.")
            if not self._candidate[index]:
                raise DalError(f"indices: expected points of the pool, got {index}, which is excluded.")
        self._labels[positions] = values
        self._rounds[positions] = round
        self._candidate[positions] = False
        self._order.extend(positions)

    def correct(self, index: int, label: Any) -> None:
        """Replace the label of a labeled point, which keeps its round and its place in the order.

        Raises DalError, and changes nothing, for an unlabeled point and for an invalid label.

        >>> pool = Pool(size=3, num_classes=2)
        >>> pool.label([1], [0], round=0)
        >>> pool.correct(1, 1)
        >>> pool.labels(pool.labeled).tolist()
        [1]
        """
        (position,) = self._check_labeled(index)
        self._labels[[position]] = self._encoded([position], [label])

    def forget(self, index: int) -> None:
        """Take the label of a point back, which becomes a candidate again.

        Raises DalError for an unlabeled point.
        """
        (position,) = self._check_labeled(index)
        self._labels[[position]] = self.task.unlabeled(1, self.num_classes)
        self._rounds[position] = UNLABELED
        self._candidate[position] = True
        self._order.remove(position)

    def include(self, index: int) -> None:
        """Make an excluded point a candidate again. Raises DalError for a labeled point."""
        (position,) = self._check_indices([index])
        if self._rounds[position] != UNLABELED:
            raise DalError(f"index: expected a point without a label, got {position}, which has one.")
        self._candidate[position] = True

    def _check_labeled(self, index: int) -> list[int]:
        positions = self._check_indices([index])
        if self._rounds[positions[0]] == UNLABELED:
            raise bad_value("index", "a labeled point", positions[0])
        return positions

    def _encoded(self, positions: Sequence[int], labels: Sequence[Any]) -> Tensor:
        try:
            return self.task.encode(labels, self.num_classes)
        except NotALabelError as error:
            index = positions[error.place]
            raise DalError(f"labels: expected {error.expected}, got {error.got!r} for index {index}.") from None

    def _check_indices(self, indices: Sequence[int]) -> list[int]:
        positions = [whole_number("indices", index) for index in indices]
        for index in positions:
            if not 0 <= index < self.size:
                raise bad_value("indices", f"positions from 0 to {self.size - 1}", index)
        if len(set(positions)) != len(positions):
            repeated = next(i for i in positions if positions.count(i) > 1)
            raise bad_value("indices", "each index once", repeated)
        return positions
