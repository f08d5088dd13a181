"""Files that the user names: a link is followed, and only regular files are replaced."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from dal.errors import DalError
from dal.runs.files.committed import is_below
from dal.runs.layout import STATE
from dal.runtime.refusals import explained


def output_file(path: Path, argument: str = "output") -> Path:
    """Return the file that output to ``path`` replaces.

    A symbolic link leads to its target, which need not exist. Raises DalError for a path that is not a regular file,
    such as a folder, a pipe or a device, and for a link that leads out of a run folder.

    >>> output_file(Path("/"))
    Traceback (most recent call last):
    dal.errors.DalError: output: expected a file, got '/', which is a folder.
    """
    with explained(argument, path):
        try:
            mode = path.stat().st_mode
        except FileNotFoundError:
            mode = stat.S_IFREG
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe, a socket or a device"
        raise DalError(f"{argument}: expected a file, got {str(path)!r}, which is {kind}.")
    if not path.is_symlink():
        return path
    # The files of a run can come from elsewhere, so its links must not choose which file is overwritten.
    if os.path.lexists(path.parent / STATE) and not is_below(path, path.parent):
        raise DalError(
            f"{argument}: expected a file in the run folder, got {str(path)!r}, a link that leads out of it."
        )
    return Path(os.path.realpath(path))
