"""The port and the token of a run's last server, so that an open page goes on after a restart."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from dal.errors import DalError
from dal.labeling.people.page.security import is_token_text, new_token
from dal.runs.layout import PAGE, PAGE_LOCK
from dal.runtime.refusals import refusal


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


@contextmanager
def only_page(folder: Path) -> Iterator[None]:
    """Hold the lock of the page of a run. Leases are in one server, so a second one would give images out twice.

    Raises DalError if another server has the lock. The operating system frees the lock of a killed process.
    """
    lock = FileLock(folder / PAGE_LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        port = last_address(folder).port
        where = f" on port {port}" if port else ""
        raise DalError(
            f"run: the page of {str(folder)!r} is already open{where}, with another dal label. Use that page, or end "
            "the other command first."
        ) from None
    except OSError as error:
        raise refusal(error, "run", folder) from error
    try:
        yield
    finally:
        lock.release()
