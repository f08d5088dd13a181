"""HeldOut: the points for testing and validation, which are never trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from dal.data.images import ImageData
from dal.errors import bad_content, bad_value
from dal.labeling.pool import Pool

Told = tuple[Sequence[int], Sequence[int]]
Points = tuple[Tensor, Tensor]


class HeldOut:
    """The points of a pool that are kept for testing and validation, with their labels so far.

    >>> held = HeldOut(Pool(size=5, num_classes=2))
    >>> held.hold(test=[4, 0], validation=[2])
    >>> held.set_labels({4: 1})
    >>> held.test[0].tolist(), held.validation[0].tolist(), held.num_labels
    ([4], [], 1)
    """

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self._order: dict[str, list[int]] = {}
        self._points: dict[str, Points] = {}

    @property
    def test(self) -> Points | None:
        """Indices and labels of the test set so far, or None without a test set."""
        return self._points.get("test")

    @property
    def validation(self) -> Points | None:
        """Indices and labels of the validation set so far, or None without a validation set."""
        return self._points.get("validation")

    @property
    def num_labels(self) -> int:
        return sum(len(indices) for indices, _ in self._points.values())

    def __contains__(self, index: object) -> bool:
        return any(index in order for order in self._order.values())

    def tell(self, data: ImageData, test: Told | None = None, validation: Told | None = None) -> None:
        """Hold labeled points out. Raises DalError, and changes nothing, for invalid labels and for training points."""
        for name, told in (("test", test), ("validation", validation)):
            if told is None:
                continue
            indices, labels = told
            points = self._checked(indices, labels)
            if len(indices) and not len(data.trainable(points)[0]):
                raise bad_content("labels", "a class for at least one of the points", f"none for all {len(indices)}")
            self.pool.exclude(indices)
            self._order[name], self._points[name] = points[0].tolist(), points

    def _checked(self, indices: Sequence[int], labels: Sequence[int]) -> Points:
        checked = Pool(self.pool.size, self.pool.num_classes, task=self.pool.task)
        checked.label(indices, labels, 0)
        taken = set(self.pool.labeled.tolist()) & {int(i) for i in indices}
        if taken:
            raise bad_value("indices", "points without a training label", min(taken))
        return checked.labeled, checked.labels(checked.labeled)

    def hold(self, test: Sequence[int], validation: Sequence[int]) -> None:
        """Hold points out whose labels come later.

        Raises DalError, and changes nothing, for points that have a label or appear twice.
        """
        wanted = {"test": [int(i) for i in test], "validation": [int(i) for i in validation]}
        both = [*wanted["test"], *wanted["validation"]]
        twice = {index for index in both if both.count(index) > 1} if len(set(both)) < len(both) else set()
        twice |= {index for index in both if index in self}
        if twice:
            raise bad_value("indices", "points that are not held out yet", min(twice))
        taken = set(self.pool.labeled.tolist()) & set(both)
        if taken:
            raise bad_value("indices", "points without a training label", min(taken))
        self.pool.exclude(both)
        for name, indices in wanted.items():
            if indices:
                self._order[name] = indices
        self.set_labels({})

    def set_labels(self, labels: Mapping[int, int]) -> None:
        """Make ``labels`` those of the held-out points. Other points of the mapping are ignored."""
        for name, order in self._order.items():
            known = [index for index in order if index in labels]
            values = self.pool.task.encode([labels[index] for index in known], self.pool.num_classes)
            self._points[name] = (torch.tensor(known, dtype=torch.int64), values)

    def correct(self, index: int, label: int) -> None:
        """Replace the label of a held-out point. Raises DalError for a point without a label and an invalid label."""
        for name, (indices, labels) in self._points.items():
            places = (indices == index).nonzero().flatten()
            if len(places):
                (value,) = self._checked([index], [label])[1]
                self._points[name] = (indices, labels.index_fill(0, places, int(value)))
                return
        raise bad_value("index", "a labeled point", index)
