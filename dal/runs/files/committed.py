"""Reads files of a run folder, and checks them against their digests.

The files are untrusted input. Each must be a regular file in the folder, with the content that state.json commits.
"""

from __future__ import annotations

import csv
import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, TypeVar

from dal.errors import DalError
from dal.runs.files.atomic import ANY_TEXT
from dal.runs.layout import FOLDERS, OF_ROUNDS, OURS
from dal.runtime.refusals import refusal

MOST_BYTES = 2**28
"""Maximum size of a file that is read into memory. Real files have some kilobytes."""

_REMEDY = "Restore it, or choose another folder."
_Parsed = TypeVar("_Parsed")


def damaged(folder: Path, name: str, why: str = "") -> DalError:
    """Return the error for a damaged file of a run.

    >>> str(damaged(Path("runs/a"), "state.json"))
    "run: state.json in 'runs/a' is damaged. Restore it, or choose another folder."
    """
    return DalError(f"run: {name} in {str(folder)!r} is damaged{why and f' ({why})'}. {_REMEDY}")


def file_of(folder: Path, name: str) -> Path:
    """Return the path of a regular file in the folder.

    Raises DalError for a name or a link that leads out of the folder, and for a missing or other kind of file.
    """
    path = _inside(folder, name)
    try:
        kind = path.stat().st_mode
    except FileNotFoundError:
        raise DalError(f"run: expected {name} in {str(folder)!r}, got no such file. {_REMEDY}") from None
    except OSError as error:
        raise _unreadable(folder, name, error) from error
    if not stat.S_ISREG(kind):
        raise damaged(folder, name, "it is not a regular file")
    return path


def read_bytes(folder: Path, name: str, size: int | None = None, most: int = MOST_BYTES) -> bytes:
    """Return the content of a file, or its first ``size`` bytes.

    Raises DalError if they cannot be read.
    """
    path = file_of(folder, name)
    try:
        there = path.stat().st_size
        if size is not None and there < size:
            raise DalError(f"run: expected {size} bytes of {name} in {str(folder)!r}, got {there}. {_REMEDY}")
        if (there if size is None else size) > most:
            raise damaged(folder, name, f"it has more than {most:,} bytes")
        with path.open("rb") as file:
            return file.read(-1 if size is None else size)
    except OSError as error:
        raise _unreadable(folder, name, error) from error


def checked_text(folder: Path, name: str, state: Mapping[str, Any], size: int | None = None) -> str:
    """Return the text of a committed file, or of its first bytes.

    ``size`` limits the number of bytes. Raises DalError if the digest differs.
    """
    data = read_bytes(folder, name, size)
    expected = digest_of(state, name)
    if expected is not None and hashlib.sha256(data).hexdigest() != expected:
        raise _other_digest(folder, name)
    return parsed(folder, name, lambda: data.decode(errors=ANY_TEXT))


def check_file(folder: Path, name: str, state: Mapping[str, Any]) -> Path:
    """Return the path of a committed file of any size.

    Raises DalError if it has another digest.
    """
    path, expected = file_of(folder, name), digest_of(state, name)
    if expected is not None and hash_file(folder, name) != expected:
        raise _other_digest(folder, name)
    return path


def check_if_committed(folder: Path, name: str, state: Mapping[str, Any]) -> None:
    """Raise DalError for a file with another digest than the commit, if that names one.

    Folders of older versions do not commit every file.
    """
    if name in state.get("digests", {}):
        check_file(folder, name, state)


def hash_file(folder: Path, name: str) -> str:
    """Return the digest of a file."""
    try:
        with file_of(folder, name).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(folder, name, error) from error


def is_intact(folder: Path, name: str, digests: Mapping[str, str]) -> bool:
    """Return whether a file is there with its committed digest, if it has one."""
    return is_file(folder / name) and digests.get(name) in (None, hash_file(folder, name))


def digest_of(state: Mapping[str, Any], name: str) -> str | None:
    """Return a committed file's digest, or None for runs without digests.

    Such runs are from older versions. Raises DalError if only this file has no digest.
    """
    if "digests" not in state:
        return None
    digest: str | None = state["digests"].get(name)
    if digest is None:
        raise DalError(f"run: expected the digest of {name} in state.json, got none. {_REMEDY}")
    return digest


def parsed(folder: Path, name: str, parse: Callable[[], _Parsed]) -> _Parsed:
    """Return the parsed content of a file.

    Raises DalError if it cannot be parsed.
    """
    try:
        return parse()
    except DalError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError, csv.Error) as error:
        raise damaged(folder, name) from error


def is_file(path: Path) -> bool:
    """Return whether this is a regular file. False on a system error."""
    return _tells(path.is_file)


def is_folder(path: Path) -> bool:
    """Return whether this is a folder. False on a system error."""
    return _tells(path.is_dir)


def _tells(question: Callable[[], bool]) -> bool:
    try:
        return question()
    except OSError:
        return False


def check_contents(folder: Path) -> None:
    """Raise DalError for links out of the folder and for special files.

    Only files that a run writes or deletes are checked.
    """
    ours = [name for name in _names(folder) if is_ours(name)]
    inside = [f"{one}/{name}" for one in FOLDERS if one in ours for name in _names(folder / one)]
    for name in [*ours, *inside]:
        path = folder / name
        if path.is_symlink() and not is_below(path, folder):
            raise _leads_out(folder, name)
        if name not in inside and name in FOLDERS:
            continue
        # A folder in the place of a file is an error where the file is read. Reading a pipe would wait forever.
        is_fine = is_file(path) or (name in inside and is_folder(path))
        if path.exists() and not is_fine:
            raise damaged(folder, name, "it is not a regular file")


def subfolder(folder: Path, name: str) -> Path:
    """Return the path of a folder in a run folder, which need not exist.

    Raises DalError for a link that leads out of the run folder.
    """
    return _inside(folder, name)


def check_inside(folder: Path, name: str) -> None:
    """Raise DalError for a file that is a link out of the folder. The file need not exist."""
    _inside(folder, name)


def is_ours(name: str) -> bool:
    """Return whether a run writes a file of this name.

    >>> is_ours("weights_003.pt"), is_ours(".state.json.new"), is_ours("thesis.txt")
    (True, True, False)
    """
    plain = name.removeprefix(".").removesuffix(".new") if name.endswith(".new") else name
    return plain in OURS or any(fnmatch(plain, pattern) for pattern in OF_ROUNDS)


def _names(folder: Path) -> Iterable[str]:
    return sorted(path.name for path in folder.iterdir()) if is_folder(folder) else ()


def _inside(folder: Path, name: str) -> Path:
    if Path(name).name != name or name in ("", ".."):
        raise _leads_out(folder, name)
    path = folder / name
    if path.is_symlink() and not is_below(path, folder):
        raise _leads_out(folder, name)
    return path


def is_below(path: Path, folder: Path) -> bool:
    """Return whether the path, with all links followed, is in the folder."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def _leads_out(folder: Path, name: str) -> DalError:
    return DalError(
        f"run: expected files of {str(folder)!r} to be in that folder, got {name!r}, which leads out of it. {_REMEDY}"
    )


def _other_digest(folder: Path, name: str) -> DalError:
    return damaged(folder, name, "its digest differs from the one in state.json")


_OF_THE_PATH = (errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOENT, errno.ENOTDIR)


def _unreadable(folder: Path, name: str, error: OSError) -> DalError:
    """Return the error for a file that the system refuses, or for a path that is damaged, such as a circle of links."""
    if error.errno not in _OF_THE_PATH:
        return refusal(error, "run", folder / name)
    reason = error.strerror or type(error).__name__
    return DalError(f"run: {name} in {str(folder)!r} cannot be read ({reason}). {_REMEDY}")
