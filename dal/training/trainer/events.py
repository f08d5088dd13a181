"""TensorBoard events of a round."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dal.runtime.distributed import is_rank_zero
from dal.runtime.lightning_package import in_package

SECONDS = 5.0
"""Seconds after which the events on disk are out of date."""


class _Events:
    """Writes to disk every few seconds and at the end, instead of after each entry.

    A write waits for the thread of TensorBoard, which takes longer than an update of a small network.
    """

    hparams: Mapping[str, Any]
    log_dir: str
    NAME_HPARAMS_FILE: str

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._written = time.monotonic()

    def save(self) -> None:
        if time.monotonic() - self._written >= SECONDS:
            self._written = time.monotonic()
            super().save()  # type: ignore[misc]

    def finalize(self, status: str) -> None:
        self._written = -SECONDS
        if status == "success" and not self.hparams and is_rank_zero():
            # Lightning writes this file through OmegaConf, which takes longer than the events of a short round.
            hparams = Path(self.log_dir, self.NAME_HPARAMS_FILE)
            with suppress(FileNotFoundError, FileExistsError), hparams.open("x") as file:
                file.write("{}\n")
        super().finalize(status)  # type: ignore[misc]


def tensorboard_logger(folder: Path, package: str) -> Any:
    """Return the logger of a Lightning package that writes TensorBoard events to ``folder``."""
    kind: Any = in_package(_Events, "TensorBoardLogger", f"{package}.loggers")
    return kind(save_dir=str(folder.parent), name="", version=folder.name)
