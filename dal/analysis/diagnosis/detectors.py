"""All detectors, in the order of the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from dal.analysis.diagnosis import (
    association,
    capacity,
    forgetting,
    learned,
    merge,
    onset,
    queries,
    ran_out,
    stability,
    stall,
    suspects,
)
from dal.analysis.diagnosis.finding import Detected
from dal.analysis.diagnosis.history import History

DETECTORS: Mapping[str, Callable[[History], Detected]] = MappingProxyType(
    {
        learned.KEY: learned.detect,
        merge.KEY: merge.detect,
        ran_out.KEY: ran_out.detect,
        stall.KEY: stall.detect,
        association.KEY: association.detect,
        'forgetting': forgetting.detect,
        'suspects': suspects.detect,
        'queries': queries.detect,
        'onset': onset.detect,
        'capacity': capacity.detect,
        'stability': stability.detect,
    }
)


def detect_all(history: History) -> Iterator[Detected]:
    """Yield what each detector says."""
    for detect in DETECTORS.values():
        yield detect(history)
