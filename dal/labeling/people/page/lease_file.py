"""The file of leases, so that a server that starts again gives nobody what another person has."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from dal.labeling.people.leases import Leases

_MOST_BYTES = 2**20


class LeaseFile:
    """Appends the changes of leases to a file, and restores them at the start.

    It is not flushed to the disk: a lease is not worth it. Without a path, nothing is written.
    """

    def __init__(self, path: Path | None, leases: Leases, now: float) -> None:
        self._path, self._leases = path, leases
        if path is None:
            return
        with suppress(OSError):
            text = path.read_bytes()[-_MOST_BYTES:].decode(errors="replace")
            leases.restore(text, now)
            path.write_text(text if text.endswith("\n") or not text else f"{text}\n")

    def save(self) -> None:
        """Append what changed since the last call."""
        text = self._leases.lines()
        if text and self._path is not None:
            with suppress(OSError), self._path.open("a") as file:
                file.write(text)
