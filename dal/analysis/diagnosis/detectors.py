"""All detectors, in the order of the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from dal.analysis.diagnosis import collect, forgetting, information, queries, suspects
from dal.analysis.diagnosis.finding import Detected
from dal.analysis.diagnosis.history import History

DETECTORS: Mapping[str, Callable[[History], Detected]] = MappingProxyType(
    {
        information.KEY: information.detect,
        queries.KEY: queries.detect,
        forgetting.KEY: forgetting.detect,
        suspects.KEY: suspects.detect,
        collect.KEY: collect.detect,
    }
)


def detect_all(history: History) -> Iterator[Detected]:
    """Yield what each detector says."""
    for detect in DETECTORS.values():
        yield detect(history)
