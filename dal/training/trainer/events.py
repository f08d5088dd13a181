"""TensorBoard events of a round."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from dal.runtime.lightning_package import in_package

SECONDS = 5.0
"""Seconds after which the events on disk are out of date."""


class _Events:
    """Writes to disk every few seconds and at the end, instead of after each entry.

    A write waits for the thread of TensorBoard, which takes longer than an update of a small network.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._written = time.monotonic()

    def save(self) -> None:
        if time.monotonic() - self._written >= SECONDS:
            self._written = time.monotonic()
            super().save()  # type: ignore[misc]

    def finalize(self, status: str) -> None:
        self._written = -SECONDS
        super().finalize(status)  # type: ignore[misc]


def tensorboard_logger(folder: Path, package: str) -> Any:
    """Return the logger of a Lightning package that writes TensorBoard events to ``folder``."""
    kind: Any = in_package(_Events, "TensorBoardLogger", f"{package}.loggers")
    return kind(save_dir=str(folder.parent), name="", version=folder.name)
