"""The port and the token of a run's last server, so that an open page goes on after a restart."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from dal.labeling.people.page.security import is_token_text, new_token
from dal.runs.layout import PAGE


class Address(NamedTuple):
    """A port and a token. Port 0 stands for any free port."""

    port: int
    token: str


def last_address(folder: Path) -> Address:
    """Return the address of the last server of a run, or a new token and port 0."""
    try:
        found = json.loads((folder / PAGE).read_text())
        port, token = found["port"], found["token"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return Address(0, new_token())
    is_port = isinstance(port, int) and not isinstance(port, bool) and 0 < port < 2**16
    return Address(port, token) if is_port and is_token_text(token) else Address(0, new_token())


def remember_address(folder: Path, address: Address) -> None:
    """Keep an address for the next server. Only the owner of the file can read it.

    A folder that cannot be written is no error: the next server then has another address.
    """
    with suppress(OSError):
        (folder / PAGE).unlink(missing_ok=True)
        handle = os.open(folder / PAGE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(handle, "w") as file:  # noqa: PTH123 (a descriptor)
            file.write(json.dumps(address._asdict()))
