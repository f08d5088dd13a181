"""What all sections of the page share: the records, the results of the detectors, and short names of classes."""

from __future__ import annotations

from collections import Counter
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

    @property
    def has_test(self) -> bool:
        """Whether the run has a test set."""
        return bool(len(self.history.test_label)) or not np.isnan(self.facts.curve).all()

    @cached_property
    def matrices(self) -> dict[int, NDArray[np.int64]]:
        """(C, C) confusion matrices of the rounds that have one in the journal and no record of single points."""
        recorded = set(self.history.recorded.tolist())
        matrices = enumerate(self.history.confusion)
        return {at: one for at, one in matrices if one is not None and one.any() and at not in recorded}

    @cached_property
    def known_rounds(self) -> list[int]:
        """The rounds whose confusion matrix is known."""
        return sorted({*self.history.recorded.tolist(), *self.matrices})

    @cached_property
    def test_right(self) -> NDArray[np.int64]:
        """(R, C) test points of each class that a round has right."""
        return self._counts(self.history.right, lambda matrix: np.diag(matrix))

    @cached_property
    def test_counts(self) -> NDArray[np.int64]:
        """(R, C) test points of each class that a round tested."""
        return self._counts(self.history.tested, lambda matrix: matrix.sum(axis=1))

    def _counts(
        self, points: NDArray[np.bool_], of_matrix: Callable[[NDArray[np.int64]], NDArray[np.int64]]
    ) -> NDArray[np.int64]:
        history = self.history
        counts = np.zeros((history.num_rounds, history.num_classes), np.int64)
        for at in range(history.num_rounds):
            counts[at] = np.bincount(history.test_label[points[at]], minlength=history.num_classes)
        for at, matrix in self.matrices.items():
            counts[at] = of_matrix(matrix)
        return counts

    @cached_property
    def recall(self) -> NDArray[np.float64]:
        """(R, C) recall of each class; NaN where it was not tested."""
        counts = self.test_counts
        unknown = np.full(counts.shape, np.nan)
        recall: NDArray[np.float64] = np.divide(self.test_right, counts, out=unknown, where=counts > 0)
        return recall

    @cached_property
    def last_recall(self) -> NDArray[np.float64]:
        """(C,) recall in the last round that tested any point; NaN where it is not known."""
        if not self.known_rounds:
            return np.full(self.history.num_classes, np.nan)
        return np.asarray(self.recall[self.known_rounds[-1]], dtype=np.float64)

    @cached_property
    def classes(self) -> list[int]:
        """The classes that the page shows: all, or those with the lowest recall in the last round, by number."""
        history = self.history
        if history.num_classes <= MOST_CLASSES:
            return list(range(history.num_classes))
        last = self.last_recall
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


def layer_labels(names: Sequence[str], most: int = _NAME_LENGTH) -> list[str]:
    """Return short names of layers for axes, escaped: without the start that most share, and with their ends.

    >>> layer_labels(["backbone.layers.0", "backbone.layers.3", "head"])
    ['layers.0', 'layers.3', 'head']
    >>> layer_labels(["backbone.layer1.0.conv1", "backbone.encoder_of_patches.mlp.fc", "head"], most=12)
    ['…er1.0.conv1', '…ches.mlp.fc', 'head']
    """
    labels = list(names)
    while True:
        starts = Counter(label.split(".")[0] for label in labels if "." in label)
        start, count = starts.most_common(1)[0] if starts else ("", 0)
        shorter = [label.removeprefix(f"{start}.") for label in labels]
        # A number alone names no layer.
        if 2 * count <= len(labels) or len({*shorter}) < len({*labels}) or any(one[:1].isdigit() for one in shorter):
            break
        labels = shorter
    plain = [visible(label) for label in labels]
    return [plotly_text(name if len(name) <= most else f"…{name[1 - most :]}") for name in plain]


def shortened(name: str) -> str:
    """Return a name that fits an axis, escaped."""
    name = visible(name)
    return plotly_text(name if len(name) <= _NAME_LENGTH else f"{name[: _NAME_LENGTH - 1]}…")
