"""Atomic writes: a crash leaves the old or the new file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


ANY_TEXT = "surrogatepass"
"""How files hold characters that UTF-8 lacks, such as those of an undecodable file name."""


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Write a temporary binary file that replaces ``path`` when the block succeeds."""
    temporary = path.with_name(f".{path.name}.new")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Replace the text of the file."""
    with replacing(path) as file:
        file.write(text.encode(errors=ANY_TEXT))


def save_tensors(path: Path, state: dict[str, Tensor]) -> None:
    """Replace the file with a state dict, which weights_only=True can read."""
    import torch  # lazy, so that reports start without PyTorch

    with replacing(path) as file:
        torch.save(state, file)


def append_text(path: Path, text: str) -> int:
    """Append text, flush it to disk, and return the size of the file in bytes."""
    with path.open("a", encoding="utf-8", errors=ANY_TEXT, newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
        return file.tell()


def truncate(path: Path, size: int) -> None:
    """Remove the bytes after ``size``, which a crash left uncommitted."""
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
