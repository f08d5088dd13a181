"""Explains file operations that the operating system refuses."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dal.errors import DalError, bad_value, shortened

_AGAIN = "then repeat the command"
_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS)
_REMEDIES = {
    errno.ENOSPC: f"Free space on its disk, {_AGAIN}.",
    errno.EDQUOT: f"Free space in your quota, {_AGAIN}.",
    errno.EMFILE: f"Raise the limit of open files (ulimit -n), {_AGAIN}.",
    errno.ENFILE: f"Raise the limit of open files of the system, {_AGAIN}.",
    errno.ENAMETOOLONG: "Choose a shorter path.",
    errno.EISDIR: f"Move the folder at this path, {_AGAIN}.",
    errno.ELOOP: "Choose another path, because links of this one lead in a circle.",
    errno.ENOENT: "Choose another path, or create its folder.",
    errno.ENOTDIR: "Choose another path, because a part of this one is a file.",
    errno.EEXIST: f"Move the file or folder at this path, {_AGAIN}.",
    **dict.fromkeys(_NOT_WRITABLE, "Give yourself permission, or choose another path."),
}


class RefusedBySystem(DalError):
    """A file operation that the operating system refused.

    The command line prints the message and exits with status 1.
    """

    def __init__(self, message: str, cause: OSError) -> None:
        super().__init__(message)
        self.cause = cause


def refusal(error: OSError, argument: str = "file", path: object = None, remedy: str | None = None) -> RefusedBySystem:
    """Return the exception for an error of the operating system.

    ``remedy`` replaces the advice if the path is not writable.

    >>> str(refusal(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "state.json")))
    "file: 'state.json' cannot be used (No space left on device). Free space on its disk, then repeat the command."
    """
    path = error.filename if path is None else path
    where = "a file" if path is None else shortened(os.fspath(path) if isinstance(path, os.PathLike) else path)
    advice = _REMEDIES.get(error.errno or 0, "Remove the cause, then repeat the command.")
    if remedy is not None and error.errno in _NOT_WRITABLE:
        advice = remedy
    reason = error.strerror or str(error) or type(error).__name__
    return RefusedBySystem(f"{argument}: {where} cannot be used ({reason}). {advice}", error)


@contextmanager
def explained(argument: str = "file", path: object = None, remedy: str | None = None) -> Iterator[None]:
    """Turn errors of the operating system in the block into RefusedBySystem.

    A path with a NUL character, which no file can have, becomes another DalError.
    An error that an inner block has explained gets this ``remedy`` if the path is not writable.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except RefusedBySystem as refused:
        if remedy is None or refused.cause.errno not in _NOT_WRITABLE:
            raise
        raise refusal(refused.cause, argument, path, remedy) from refused.cause
    except OSError as error:
        raise refusal(error, argument, path, remedy) from error
    except ValueError as error:
        if "null byte" not in str(error):
            raise
        raise bad_value(argument, "a path without a NUL character", str(path)) from error


def check_regular(path: Path) -> None:
    """Raise OSError for a link, which can lead anywhere, and for another file that is not regular, such as a pipe."""
    if not stat.S_ISREG(path.lstat().st_mode):
        raise OSError(errno.EINVAL, "Not a regular file", str(path))
