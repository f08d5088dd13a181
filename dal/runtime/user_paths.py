"""Looks up paths that users type.

Such a path may be too long for the system, or name an unknown user, as in ~nobody. Then it does not exist.
"""

from __future__ import annotations

import stat
from pathlib import Path


def user_path(text: str | Path) -> Path:
    """Return a path with ``~`` expanded if its user is known.

    >>> user_path("~/photos") == Path.home() / "photos", str(user_path("~nobody at all"))
    (True, '~nobody at all')
    """
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)


def is_file(path: str | Path) -> bool:
    """Return whether a path is an existing file.

    >>> is_file("x" * 10_000)
    False
    """
    return stat.S_ISREG(_mode(path))


def is_folder(path: str | Path) -> bool:
    """Return whether a path is an existing folder."""
    return stat.S_ISDIR(_mode(path))


def exists(path: str | Path) -> bool:
    """Return whether a path exists."""
    return bool(_mode(path))


def _mode(path: str | Path) -> int:
    try:
        return Path(path).stat().st_mode
    except (OSError, ValueError):
        return 0
