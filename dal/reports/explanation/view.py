"""What all sections of the page share: the records, the results of the detectors, and short names of classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dal.analysis.diagnosis.finding import Detected
from dal.analysis.diagnosis.history import History
from dal.reports.explanation.facts import Facts
from dal.reports.explanation.sprite import Sprite
from dal.reports.offline.markup import plotly_text
from dal.runtime.safe_text import visible

ImageOf = Callable[[str, int], NDArray[np.uint8] | None]
"""Return an image (H, W, C) or (H, W) of a split, ``train`` or ``test``, by its index; None if there is none."""

MOST_CLASSES, SHOWN_CLASSES = 100, 50
"""With more than MOST_CLASSES classes, the page shows the SHOWN_CLASSES with the lowest recall."""
_NAME_LENGTH = 22


@dataclass(frozen=True)
class Section:
    """A section of the page: HTML, and figures by the id of their element."""

    key: str
    title: str
    parts: Sequence[str]
    figures: Mapping[str, Any] = field(default_factory=dict)
    style: str = ""

    @property
    def link(self) -> str:
        """Its name among the links of the page."""
        return "How sure" if self.key == "method" else self.key.capitalize()


@dataclass(frozen=True, eq=False)
class View:
    """What sections read."""

    history: History
    detected: Sequence[Detected]
    facts: Facts
    images: ImageOf | None = None

    def of(self, *detectors: str) -> list[Detected]:
        """Return the results of these detectors, in their order."""
        return [one for name in detectors for one in self.detected if one.detector == name]

    def table(self, detector: str, name: str, columns: Sequence[str]) -> pd.DataFrame | None:
        """Return a table of a detector with at least these columns and one row, or None if there is none."""
        for one in self.of(detector):
            table = one.tables.get(name)
            if table is not None and len(table) and set(columns) <= set(table.columns):
                return table
        return None

    @cached_property
    def recall(self) -> NDArray[np.float64]:
        """(R, C) recall of each class; NaN where it was not tested."""
        history = self.history
        counts = self.test_counts
        right = np.zeros_like(counts)
        for at in range(history.num_rounds):
            right[at] = np.bincount(history.test_label[history.right[at]], minlength=history.num_classes)
        recall: NDArray[np.float64] = np.divide(right, counts, out=np.full(counts.shape, np.nan), where=counts > 0)
        return recall

    @cached_property
    def test_counts(self) -> NDArray[np.int64]:
        """(R, C) test points of each class that a round tested."""
        history = self.history
        return np.array(
            [np.bincount(history.test_label[row], minlength=history.num_classes) for row in history.tested],
            dtype=np.int64,
        ).reshape(history.num_rounds, history.num_classes)

    @cached_property
    def classes(self) -> list[int]:
        """The classes that the page shows: all, or those with the lowest recall in the last round, by number."""
        history = self.history
        if history.num_classes <= MOST_CLASSES:
            return list(range(history.num_classes))
        last = self.recall[history.recorded[-1]] if len(history.recorded) else np.full(history.num_classes, np.nan)
        return sorted(np.argsort(np.where(np.isnan(last), 2.0, last), kind="stable")[:SHOWN_CLASSES].tolist())

    @property
    def left_out(self) -> str:
        """A sentence about classes that are not shown, or an empty text."""
        if len(self.classes) == self.history.num_classes:
            return ""
        return (
            f"Shown are the {len(self.classes)} classes with the lowest recall of {self.history.num_classes}; the CSV "
            "files have all."
        )

    def name(self, number: int) -> str:
        """The name of a class, escaped for figures too."""
        return plotly_text(str(self.history.classes[number]))

    def short(self, number: int) -> str:
        """The name of a class for an axis, escaped."""
        return shortened(str(self.history.classes[number]))

    @cached_property
    def columns(self) -> list[str]:
        """Names of the rounds under a figure: the number, and the labels bought below it."""
        labels = list(self.facts.labels)
        return [f"{at}<br>{labels[at]}" if at < len(labels) else str(at) for at in range(self.history.num_rounds)]

    def sprite(self, key: str, split: str, points: Sequence[int], most: int = 200) -> Sprite | None:
        """Return thumbnails of these points, at most ``most``, or None if there are none."""
        if self.images is None:
            return None
        return Sprite.of(key, self.images, split, points[:most])

    def test_sprite(self, key: str, positions: Sequence[int]) -> Sprite | None:
        """Return thumbnails of test points by their positions, or None if there are none."""
        history = self.history
        if not len(history.test_index):
            return None
        return self.sprite(key, history.test_of, [int(history.test_index[at]) for at in positions])

    def train_id(self, index: int) -> str:
        """The id of a training point, or its index where the id is not known. Not escaped."""
        return str(self.history.train_ids.get(index, index))

    def test_id(self, position: int) -> str:
        """The id of a test point by its position. Not escaped."""
        history = self.history
        if position < len(history.test_ids):
            return str(history.test_ids[position])
        return str(history.test_index[position]) if position < len(history.test_index) else str(position)


def shortened(name: str) -> str:
    """Return a name that fits an axis, escaped."""
    name = visible(name)
    return plotly_text(name if len(name) <= _NAME_LENGTH else f"{name[: _NAME_LENGTH - 1]}…")
