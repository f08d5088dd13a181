"""Atomic writes: a crash leaves the old or the new file.

Every function raises RefusedBySystem if the operating system refuses, such as on a full disk.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from dal.runtime.refusals import explained

if TYPE_CHECKING:
    from torch import Tensor


ANY_TEXT = "surrogatepass"
"""How files encode characters that UTF-8 lacks, such as those of an undecodable file name."""


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Write a temporary binary file that replaces ``path`` when the block succeeds."""
    temporary = path.with_name(f".{path.name}.new")
    with explained(path=path):
        # A link in this place could lead to another file, so remove it and never follow it.
        temporary.unlink(missing_ok=True)
        try:
            with temporary.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


def write_text(path: Path, text: str) -> str:
    """Replace the text of the file, and return its digest."""
    return write_bytes(path, text.encode(errors=ANY_TEXT))


def write_bytes(path: Path, data: bytes) -> str:
    """Replace the content of the file, and return its digest."""
    with replacing(path) as file:
        file.write(data)
    return hashlib.sha256(data).hexdigest()


def save_tensors(path: Path, state: dict[str, Tensor]) -> str:
    """Replace the file with a state dict, and return its digest.

    torch.load() can read it with weights_only=True.
    """
    import torch  # lazy, so that reports start without PyTorch

    with replacing(path) as file:
        hashed = _Hashed(file)
        try:
            torch.save(state, cast(IO[bytes], hashed))
        except Exception:
            if hashed.error is not None:  # PyTorch raises another error when it closes its archive
                raise hashed.error from None
            raise
    return hashed.digest.hexdigest()


class _Hashed:
    """A binary file that hashes its content and keeps the first error."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.digest = file, hashlib.sha256()
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            written = self._file.write(data)
        except OSError as error:
            self.error = self.error or error
            raise
        self.digest.update(data)
        return written

    def flush(self) -> None:
        self._file.flush()


def append_text(path: Path, text: str, at: int | None = None) -> int:
    """Append text and flush it. Return the size in bytes.

    The bytes after ``at``, which a failed write left, are removed first.
    """
    with explained(path=path), path.open("ab") as file:
        if at is not None and file.tell() > at:
            file.truncate(at)
            file.seek(at)
        file.write(text.encode(errors=ANY_TEXT))
        file.flush()
        os.fsync(file.fileno())
        return file.tell()


def truncate(path: Path, size: int) -> None:
    """Remove the bytes after ``size``, which a crash left uncommitted."""
    with explained(path=path):
        if path.exists() and path.stat().st_size > size:
            with path.open("rb+") as file:
                file.truncate(size)
                os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
