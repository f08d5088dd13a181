"""Checks and locks the place of a run folder."""

from __future__ import annotations

import os
from pathlib import Path

from filelock import FileLock, Timeout

from dal.errors import DalError
from dal.runs.files.committed import check_contents, check_file
from dal.runs.files.same_data import changed
from dal.runs.files.state import State, read_state
from dal.runs.layout import CONFIG, PEOPLE, POINTS, STATE, UNCOMMITTED
from dal.runs.saved_config import Config, check_same_config


def check_place(folder: Path) -> None:
    """Raise DalError if the path is not a folder, or is a folder that is not a run but has other files."""
    if not folder.exists():
        if folder.is_symlink():
            raise DalError(f"run_dir: {str(folder)!r} is a link that leads to no folder. Choose another run_dir.")
        return
    if not folder.is_dir():
        kind = "a file" if folder.is_file() else "a pipe, a socket or a device"
        raise DalError(f"run_dir: {str(folder)!r} is {kind}. Choose another run_dir.")
    if not os.path.lexists(folder / STATE) and any(_strangers(folder)):
        strange = next(iter(_strangers(folder)))
        raise DalError(f"run_dir: {str(folder)!r} is not a run folder but contains {strange!r}. Choose another.")
    check_contents(folder)


def _strangers(folder: Path) -> list[str]:
    temporary = (f".{STATE}", f".{POINTS}", ".config", *(f".{name}.new" for name in PEOPLE))
    return sorted(p.name for p in folder.iterdir() if p.name not in UNCOMMITTED and not p.name.startswith(temporary))


def acquire(lock: FileLock, folder: Path) -> None:
    """Create the folder and lock it. Raises DalError if another process holds the lock."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        message = f"run_dir: {str(folder)!r} is in use by another process. Wait for it, or choose another run_dir."
        raise DalError(message) from None


def state_to_resume(folder: Path, config: Config, fingerprint: str) -> State | None:
    """Return the state to resume, or None to start a run.

    A run without a finished round can be replaced by one with another configuration, to correct a setting.
    """
    if not os.path.lexists(folder / STATE):
        return None
    state = read_state(folder)
    check_file(folder, CONFIG, state)
    try:
        check_same_config(folder / CONFIG, config)
    except DalError:
        if state["rounds"]:
            raise
        return None
    return state if state["rounds"] or not changed(str(state["data"]), fingerprint) else None
