"""All detectors, in the order of the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
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
from dal.analysis.diagnosis.finding import NO_RECORDS, Detected
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

WITHOUT = "It cannot be told, because the run has no records for diagnosis."


def all_detected(history: History) -> list[Detected]:
    """Return the result of every detector. Without any records, none can tell."""
    detected = [detect(history) for detect in DETECTORS.values()]
    if history.has_records:
        return detected
    return [replace(one, findings=(), quiet=WITHOUT, unknown=True, silenced=(), lack=NO_RECORDS) for one in detected]
