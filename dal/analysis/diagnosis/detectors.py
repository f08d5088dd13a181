"""All detectors, in the order of the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from dal.analysis.diagnosis import (
    association,
    capacity,
    collect,
    forgetting,
    information,
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
        information.KEY: information.detect,
        queries.KEY: queries.detect,
        association.KEY: association.detect,
        ran_out.KEY: ran_out.detect,
        stall.KEY: stall.detect,
        onset.KEY: onset.detect,
        stability.KEY: stability.detect,
        capacity.KEY: capacity.detect,
        forgetting.KEY: forgetting.detect,
        suspects.KEY: suspects.detect,
        collect.KEY: collect.detect,
    }
)


def all_detected(history: History) -> list[Detected]:
    """Return the result of every detector."""
    return [detect(history) for detect in DETECTORS.values()]
