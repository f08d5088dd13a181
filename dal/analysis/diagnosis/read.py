"""Reads the records of a run."""

from __future__ import annotations

from pathlib import Path

from dal.analysis.diagnosis.history import History
from dal.errors import DalError


def read_history(path: str | Path) -> History:
    """Return the records of a run."""
    raise DalError(f"run: {str(path)!r} has no records.")
