"""What a detector says: a finding, that nothing was found, or that it cannot be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

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


@dataclass(frozen=True, eq=False)
class Detected:
    """The result of one detector.

    Without ``findings``, ``quiet`` says that nothing was found, or, if ``unknown``, what cannot be told and why.
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
