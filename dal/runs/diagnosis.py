"""The settings of what a run records for diagnosis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dal.runtime.ranges import Ranges, check_ranges, whole


@dataclass
class DiagnosisConfig:
    """What each round records for `dal explain`.

    No setting changes a selection, a weight or a metric. Only runs in a folder record anything.
    """

    ranges: ClassVar[Ranges] = {"checks": whole(0, 1000)}

    record: bool = True
    """Whether each round records predictions, features and statistics of layers; `diagnosis=off` is short for
    `diagnosis.record=false`."""
    checks: int = 0
    """Number of moments within a round at which losses of single points are recorded; 0 records none, and each costs
    up to 1,024 forward passes."""

    def __post_init__(self) -> None:
        check_ranges(self, "diagnosis.")
