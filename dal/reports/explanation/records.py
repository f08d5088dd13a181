"""What the page says of records that a run lacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dal.analysis.diagnosis.history import NOT_WRITTEN, History
from dal.analysis.diagnosis.words import listed, spans
from dal.runs.round import PRIMARY_METRIC, in_words


def notice(history: History, config: Mapping[str, Any], finished: bool, metric: str = PRIMARY_METRIC) -> str:
    """Return which rounds have no records, why, and what helps, or an empty text if all rounds have them."""
    if metric != PRIMARY_METRIC and not history.has_records:
        return (
            f"dal explain diagnoses runs with one class per image: of this run, the page shows only what the journal "
            f"has, such as the {in_words(metric)} by round."
        )
    said = []
    if not history.has_records:
        said.append("No round of this run has records for diagnosis.")
    unwritten = [at for at, why in history.missing.items() if why == NOT_WRITTEN]
    damaged = [f"{why} (round {at})" for at, why in history.missing.items() if why != NOT_WRITTEN]
    if damaged:
        said.append(f"Left out: {listed(damaged)}.")
    if history.missing_features:
        said.append(f"{history.missing_features}, so findings that need the features of the last round are left out.")
    if unwritten:
        why = "diagnosis=off" if _is_off(config) else "diagnosis=off, or with an older version of dal"
        if history.has_records or damaged:
            said.append(f"Without records: {_rounds(unwritten)}, which ran with {why}.")
        else:
            said.append(f"It ran with {why}.")
        if not finished:
            said.append("Resume the run with diagnosis=on, the default: later rounds then have records.")
        elif not history.has_records:
            said.append("The run is finished: only a new run with diagnosis=on, the default, has them.")
    if not history.has_records:
        said.append("The page shows what the journal has: accuracy, recall and confusion by round.")
    return " ".join(said)


def missing_records(history: History) -> str:
    """Return a sentence about kinds of records that rounds lack, or an empty text."""
    rounds = history.num_rounds
    tested = set(history.recorded.tolist())
    kinds = {
        "test predictions": [at in tested for at in range(rounds)],
        "labeled points": [one is not None for one in history.trained],
        "the pool": [one is not None for one in history.pool][1:],
        "layers": [one is not None for one in history.layers],
        "stop set": [one is not None for one in history.stop_predicted],
        "checks during training": [one is not None for one in history.checks],
    }
    lacks = []
    for kind, there in kinds.items():
        count = len(there) - sum(there)
        if not any(there):
            lacks.append(f"{kind} (all rounds)")
        elif count:
            lacks.append(f"{kind} ({count} of {len(there)} rounds)")
    if history.features is None:
        lacks.append("features of the last round")
    return f"Missing records: {', '.join(lacks)}." if lacks else ""


def _rounds(numbers: list[int]) -> str:
    return f"round{'' if len(numbers) == 1 else 's'} {spans(numbers)}"


def _is_off(config: Mapping[str, Any]) -> bool:
    """Whether the configuration says that nothing is recorded."""
    chosen = config.get("diagnosis")
    return isinstance(chosen, Mapping) and chosen.get("record") is False
