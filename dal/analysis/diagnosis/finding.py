"""What a detector says: a finding, that nothing was found, or that it cannot be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import pandas as pd


@dataclass(frozen=True)
class Finding:
    """One thing that a detector found, after its guards.

    ``sentence`` says what was seen, of how many, with p and the number of looks, and ends with a full stop. ``weight``
    orders headlines, the largest first. ``numbers`` are the values of the sentence, for a CSV.
    """

    detector: str
    sentence: str
    weight: float = 0.0
    classes: tuple[int, ...] = ()
    round: int | None = None
    points: tuple[int, ...] = ()
    """Positions in the test set or indices of training points, as the detector says, for thumbnails."""
    numbers: Mapping[str, float | int | str] = field(default_factory=dict)


@dataclass(frozen=True)
class Lack:
    """What a detector needs and the run lacks. Detectors that lack the same share a line of the page."""

    what: str
    """A noun phrase, such as ``too few rounds``."""
    there: int | None = None
    needed: int | None = None
    """The numbers, if ``what`` can be counted."""


NO_TEST = Lack("no predictions of a test set")
NO_FEATURES = Lack("no features of the last layer")
NO_RECORDS = Lack("no records for diagnosis")
FEW_TEST_IMAGES = Lack("too few test images")


def few_rounds(there: int, needed: int) -> Lack:
    """Return the lack of rounds."""
    return Lack("too few rounds", there, needed)


def few_labels(there: int, needed: int) -> Lack:
    """Return the lack of labels."""
    return Lack("too few labels", there, needed)


class Reason(NamedTuple):
    """Why something cannot be told, as a sentence, and what the run lacks."""

    sentence: str
    lack: Lack | None = None


@dataclass(frozen=True, eq=False)
class Detected:
    """The result of one detector.

    Without ``findings``, ``quiet`` says that nothing was found, or, if ``unknown``, what cannot be told and why;
    ``lack`` is the kind of reason, or None if the reason is of this detector alone.
    ``method`` says how: the test, its level, and the number of looks. ``silenced`` lists what a guard kept back.
    """

    detector: str
    title: str
    """A noun phrase for the page, such as ``Classes that were lost``."""
    findings: tuple[Finding, ...]
    quiet: str
    method: str
    unknown: bool = False
    silenced: tuple[str, ...] = ()
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    """The evidence by name, for figures and CSV files."""
    lack: Lack | None = None
