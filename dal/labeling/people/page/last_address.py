"""The address of the page, kept so that an open browser tab works after a restart."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from dal.runs.layout import PAGE
from dal.runtime.refusals import explained

_MOST_BYTES = 4096


class LastAddress:
    """Reads and writes the port and the token of a run's page. Only the owner can read the file."""

    def __init__(self, run: Path) -> None:
        self.path = run / PAGE

    def read(self) -> tuple[int, str | None]:
        """Return the last port, or 0, and the last token.

        A file that another user could have written is ignored.
        """
        with suppress(OSError, ValueError, TypeError, AttributeError):
            handle = os.open(self.path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
            with open(handle, "rb") as file:  # noqa: PTH123 (a descriptor)
                found = os.fstat(handle)
                is_own = not hasattr(os, "getuid") or (found.st_uid == os.getuid() and not found.st_mode & 0o077)
                values = json.loads(file.read(_MOST_BYTES)) if is_own else {}
            port, token = values.get("port"), values.get("token")
            if isinstance(port, int) and 0 < port < 2**16 and (token is None or isinstance(token, str)):
                return port, token
        return 0, None

    def write(self, port: int, token: str | None) -> None:
        """Replace the file."""
        new = self.path.with_name(f"{self.path.name}.new")
        with explained(path=self.path):
            new.unlink(missing_ok=True)
            handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(handle, "w") as file:  # noqa: PTH123 (a descriptor)
                json.dump({"port": port, "token": token}, file)
            new.replace(self.path)
