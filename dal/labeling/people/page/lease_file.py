"""The file of leases, so that a server that starts again gives nobody what another person has."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from dal.errors import DalError
from dal.labeling.people.leases import Leases
from dal.runs.files.atomic import write_text

_MOST_BYTES = 2**20


class LeaseFile:
    """Appends the changes of leases to a file, and restores them at the start.

    It is not flushed to the disk: a lease is not worth it. Without a path, nothing is written.
    """

    def __init__(self, path: Path | None, leases: Leases, now: float) -> None:
        self._path, self._leases = path, leases
        if path is None:
            return
        with suppress(OSError, DalError):
            data = path.read_bytes()
            text = data[-_MOST_BYTES:].decode(errors="replace")
            leases.restore(text, now)
            if len(data) > _MOST_BYTES or not text.endswith("\n"):
                write_text(path, f"{text}\n")  # at once, so that a kill leaves the old file or the new one

    def save(self) -> None:
        """Append what changed since the last call."""
        text = self._leases.lines()
        if text and self._path is not None:
            with suppress(OSError), self._path.open("a") as file:
                file.write(text)
