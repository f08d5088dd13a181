"""Trains beside the page: the process that `dal label` starts."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from dal.cli.main import exit_with
from dal.labeling.people.people_run import with_changes
from dal.labeling.people.start import read_start
from dal.runs.layout import LOCK, STATE

_PATIENCE_SECONDS = 60


def train(run: str) -> int:
    """Run the campaign of a folder until its budget is spent or a signal ends it."""
    threading.Thread(target=_end_with_the_page, daemon=True).start()
    from dal.cli.run import run_campaign  # imports PyTorch, which takes seconds

    # The trainer of a page that was killed ends soon after it.
    with suppress(Timeout), FileLock(Path(run) / LOCK).acquire(timeout=_PATIENCE_SECONDS):
        pass
    run_campaign(_config(Path(run)))
    return 0


def _end_with_the_page() -> None:
    """Terminate this process when the page ends, however it ends. The operating system then closes the pipe."""
    # sys.stdin would hold a lock while it reads, with which Python cannot end.
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _config(path: Path) -> dict[str, Any]:
    from dal.config.overrides import compose
    from dal.config.saved_run import config_to_rank

    is_committed = os.path.lexists(path / STATE)
    if is_committed:
        config = with_changes(path, config_to_rank(path, []))
    else:
        start = read_start(path)
        config = compose([*start["overrides"], *start["sizes"]])
    return {**config, "run_dir": str(path), "oracle": {**config["oracle"], "wait": True}}


if __name__ == "__main__":
    exit_with(lambda: train(sys.argv[1]))
