"""The run folder: writing, resuming and reading it."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dal.runs.diagnosis import DiagnosisConfig
    from dal.runs.folder import RunFolder
    from dal.runs.reader import Run, find_runs, read_run
    from dal.runs.records import Records
    from dal.runs.round import Round

__all__ = ["DiagnosisConfig", "Records", "Round", "Run", "RunFolder", "find_runs", "read_run"]

_HOMES = {
    "DiagnosisConfig": "dal.runs.diagnosis",
    "Records": "dal.runs.records",
    "Round": "dal.runs.round",
    "Run": "dal.runs.reader",
    "RunFolder": "dal.runs.folder",
    "find_runs": "dal.runs.reader",
    "read_run": "dal.runs.reader",
}


def __getattr__(name: str) -> Any:
    """Import a name on first use.

    ``dal report`` then does not load torch, and the command line does not load pandas.
    """
    if name not in _HOMES:
        raise AttributeError(f"module 'dal.runs' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """List the names that are not imported yet too, for completion."""
    return sorted({*globals(), *__all__})
