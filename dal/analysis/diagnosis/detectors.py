"""All detectors, in the order of the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dal.analysis.diagnosis.finding import Detected
from dal.analysis.diagnosis.history import History

DETECTORS: Sequence[Callable[[History], Detected]] = ()


def all_detected(history: History) -> list[Detected]:
    """Return the result of every detector."""
    return [detect(history) for detect in DETECTORS]
