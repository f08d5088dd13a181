"""Oracles, which answer queries with labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from dal.data.images import ImageData
from dal.errors import DalError, bad_value, unknown_choice
from dal.runtime.ranges import Range, Ranges, check_ranges, share, whole
from dal.runtime.seeding import generator
from dal.tasks import CLASSIFICATION
from dal.tasks.base import OUT_OF_CLASS


class Oracle(Protocol):
    """Provides labels for queried points."""

    def answerable(self) -> Tensor:
        """Return the (M,) int64 indices that the oracle can label."""
        ...

    def __call__(self, indices: Sequence[int]) -> list[Any] | None:
        """Return the labels of these points, or None.

        A point of none of the classes has the label OUT_OF_CLASS (-2). None means that the labels do not exist yet. The
        campaign then ends with WaitingForAnswers.
        """
        ...


class DatasetOracle:
    """Answers with the labels of the data set.

    For segmentation, the masks stay in the data, and the answer 0 says that the mask of a unit is known.

    Raises DalError for a point whose label is unknown.
    """

    def __init__(self, data: ImageData) -> None:
        self._data, self.num_classes = data, data.num_classes

    def answerable(self) -> Tensor:
        known = self._data.task.answerable(self._data.labels)
        return known.repeat_interleave(self._data.units_per_image).nonzero().flatten()

    def __call__(self, indices: Sequence[int]) -> list[Any]:
        task = self._data.task
        labels = self._data.labels[self._data.images_of(torch.tensor(list(indices), dtype=torch.int64))]
        for index, is_known in zip(indices, task.answerable(labels).tolist(), strict=True):
            if not is_known:
                raise DalError(f"oracle: expected a point with a known label, got {self._data.point_ids[index]!r}.")
        return task.decode(labels)


class NoisyOracle(DatasetOracle):
    """Answers with a wrong class with probability ``noise``.

    The wrong class is drawn uniformly from the others. The answer for a point depends only on (seed, index), so asking
    again gives the same answer, in any order and after a crash. Out-of-class images are always recognized.

    Raises DalError if noise is not from 0 to 1 or the task is not classification.
    """

    def __init__(self, data: ImageData, noise: float, seed: int = 0) -> None:
        super().__init__(data)
        if not 0 <= noise <= 1:
            raise bad_value("oracle.noise", "a probability from 0 to 1", noise)
        if data.task.name != CLASSIFICATION.name:
            raise bad_value("oracle.noise", f"0 with {data.task.name} data", noise)
        self.noise, self.seed = noise, seed

    def __call__(self, indices: Sequence[int]) -> list[Any]:
        return [self._answer(i, clean) for i, clean in zip(indices, super().__call__(indices), strict=True)]

    def _answer(self, index: int, clean: int) -> int:
        if clean == OUT_OF_CLASS:
            return clean
        g = generator(self.seed, int(index), "oracle")
        if float(torch.rand((), generator=g, dtype=torch.float64)) >= self.noise:
            return clean
        shift = int(torch.randint(1, self.num_classes, (), generator=g))
        return (clean + shift) % self.num_classes


KINDS = ("dataset", "people")


@dataclass
class OracleConfig:
    """Configuration of the oracle: the labels of the data set, or people.

    Only ``kind`` and ``noise`` can change a result. The other settings say when people are asked, which the records of
    a run contain.
    """

    ranges: ClassVar[Ranges] = {
        "noise": share(noun="a probability"),
        "refit_labels": whole(1, 10**9),
        "refit_growth": Range(0, 10**6),
        "overlap": whole(1, 100),
        "prefetch": whole(1, 1000),
        "poll_seconds": Range(0, 3600, above=True),
    }

    kind: str = "dataset"
    """Who answers: dataset (its labels, a simulation), or people (dal label, dal ask, dal tell); oracle=people is short
    for this key."""
    noise: float = 0.0
    """Probability that an answer is wrong: another class, drawn uniformly."""
    wait: bool = False
    """Whether a run with people waits for answers and trains whenever enough is new; false ends it with status 3."""
    refit_labels: int = 1
    """Smallest number of new labels to train again while people label (oracle.wait)."""
    refit_growth: float = 0.05
    """New labels to train again, as a share of the labels that the last training saw (oracle.wait)."""
    overlap: int = 1
    """Number of people who answer for each point."""
    prefetch: int = 8
    """Number of images that a page holds for a person."""
    poll_seconds: float = 0.5
    """Seconds between two looks for new answers (oracle.wait)."""

    def __post_init__(self) -> None:
        check_ranges(self, "oracle.")
        if self.kind not in KINDS:
            raise unknown_choice("oracle", KINDS, self.kind)
        if self.kind == "people" and self.noise:
            raise bad_value("oracle.noise", "0 with oracle=people", self.noise)

    def build(self, data: ImageData, seed: int) -> Oracle:
        """Return the simulated oracle."""
        return NoisyOracle(data, self.noise, seed) if self.noise else DatasetOracle(data)
