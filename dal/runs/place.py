"""Checks and locks the place of a run folder."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from filelock import FileLock, Timeout

from dal.errors import DalError
from dal.runs.files.committed import check_contents
from dal.runs.layout import PEOPLE, STATE, UNCOMMITTED
from dal.runtime.refusals import refusal


def check_place(folder: Path) -> None:
    """Raise DalError if the path is a file, or a folder that is not a run but has other files."""
    if folder.is_file():
        raise DalError(f"run_dir: {str(folder)!r} is a file. Choose another run_dir.")
    if not folder.exists():
        return
    if not os.path.lexists(folder / STATE) and any(_strangers(folder)):
        strange = next(iter(_strangers(folder)))
        raise DalError(f"run_dir: {str(folder)!r} is not a run folder but contains {strange!r}. Choose another.")
    check_contents(folder)


def _strangers(folder: Path) -> list[str]:
    temporary = (f".{STATE}.new", ".config", *(f".{name}.new" for name in PEOPLE))
    return sorted(p.name for p in folder.iterdir() if p.name not in UNCOMMITTED and not p.name.startswith(temporary))


def acquire(lock: FileLock, folder: Path) -> None:
    """Create the folder and lock it. Raises DalError if another process holds the lock or the folder is refused."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        message = f"run_dir: {str(folder)!r} is in use by another process. Wait for it, or choose another run_dir."
        raise DalError(message) from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE):
            raise refusal(error, "run_dir", folder) from error
        message = f"run_dir: {str(folder)!r} is not writable ({error.strerror}). Choose another run_dir."
        raise DalError(message) from error
