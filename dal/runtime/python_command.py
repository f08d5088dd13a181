"""The command that runs a module of dal in another process."""

from __future__ import annotations

import os
import sys
from contextlib import suppress


def python_command(module: str) -> list[str]:
    """Return the command. Its process imports nothing from the current folder, unless this process does so too.

    The current folder can be one from elsewhere, and ``python -m`` looks for every module there first.
    """
    places = {os.path.realpath(place) for place in sys.path if place}
    has_current = "" in sys.path
    with suppress(OSError):  # the current folder is gone
        has_current = has_current or os.path.realpath(os.curdir) in places
    return [sys.executable, *([] if has_current else ["-P"]), "-m", module]
