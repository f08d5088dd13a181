"""The lines of asked.csv, read again when the file changes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dal.labeling.people.page.facts import stamp
from dal.runs.asked import AskedLine, read_asked
from dal.runs.layout import ASKED, STATE


class AskedFile:
    """Returns the lines that state.json commits, and ``first`` until the trainer commits lines.

    ``first`` are the lines that the trainer will commit at the start, as first_asks() returns them. The page thus shows
    an image before PyTorch is imported.
    """

    def __init__(self, folder: Path, first: Sequence[AskedLine] = ()) -> None:
        self.folder, self._first = folder, list(first)
        self._lines: Sequence[AskedLine] = self._first
        self._seen: tuple[object, ...] = ()

    def __call__(self) -> Sequence[AskedLine]:
        """Return the lines, and the same list until they change. Raises DalError for a damaged file."""
        seen = (stamp(self.folder / ASKED), stamp(self.folder / STATE))
        if seen != self._seen:
            lines = read_asked(self.folder) or self._first
            if lines != self._lines:
                self._lines = lines
            self._seen = seen
        return self._lines
