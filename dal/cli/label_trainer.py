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

from dal.cli.exit_status import exit_with
from dal.cli.loading import loading
from dal.config.trusted_files import is_trusted
from dal.errors import DalError
from dal.labeling.people.people_run import with_changes
from dal.labeling.people.start import read_start
from dal.runs.layout import LABEL_START, LOCK, STATE

_PATIENCE_SECONDS = 60


def train(run: str) -> int:
    """Run the campaign of a folder until its budget is spent or a signal ends it."""
    threading.Thread(target=_end_with_the_page, daemon=True).start()
    with loading():
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
    from dal.config.saved_run import config_to_rank, is_plain

    is_committed = os.path.lexists(path / STATE)
    if is_committed:
        config = with_changes(path, config_to_rank(path, []))
    else:
        start = read_start(path)
        texts = [*start["overrides"], *start["sizes"]]
        names_code = any(text.lstrip("+").startswith("acquisition=") and ".py" in text for text in texts)
        _check_trust(path, names_code)
        config = compose(texts)
        _check_trust(path, any(not is_plain(key, value) for key, value in config["trainer"].items()))
    return {**config, "run_dir": str(path), "oracle": {**config["oracle"], "wait": True}}


def _check_trust(path: Path, names_code: bool) -> None:
    """Raise DalError if the settings of a run from elsewhere name code."""
    if names_code and not is_trusted(path / LABEL_START):
        raise DalError(
            f"run: expected settings without code of its own, because this machine has not written {LABEL_START} in "
            f"{str(path)!r}. Start a run with these settings yourself: dal label FOLDER --classes NAMES KEY=VALUE."
        )


if __name__ == "__main__":
    exit_with(lambda: train(sys.argv[1]))
