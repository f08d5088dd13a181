"""Records Python files that this machine has run, by path and digest.

If only a run folder names a Python file, ``dal rank`` imports it only if it has a record. A record is an empty file in
``$XDG_STATE_HOME/dal/trusted_files`` (``~/.local/state`` by default). Its name is the SHA-256 digest of the path and
the content of the Python file, so a changed or moved file is not trusted.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path


def remember(path: str | Path) -> None:
    """Record that the user has named this file on a command line."""
    # The record is only a convenience. A home folder that is not writable must not stop the run.
    with suppress(OSError, RuntimeError):
        record = _record(path)
        record.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        record.touch(mode=0o600)


def is_trusted(path: str | Path) -> bool:
    """Return whether this machine has recorded the file with its current content."""
    try:
        return _record(path).is_file()
    except (OSError, RuntimeError):
        return False


def _record(path: str | Path) -> Path:
    file = Path(path).resolve()
    digest = hashlib.sha256(os.fsencode(file) + b"\0" + file.read_bytes()).hexdigest()
    return _folder() / digest


def _folder() -> Path:
    state = os.environ.get("XDG_STATE_HOME", "")
    base = Path(state) if Path(state).is_absolute() else Path.home() / ".local" / "state"
    return base / "dal" / "trusted_files"
