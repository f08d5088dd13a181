"""Lines of the answer journal, as bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

from dal.errors import DalError

BLOCK = 2**17
_MOST_BYTES = 2**22


def whole_lines(file: IO[bytes], offset: int) -> Iterator[bytes]:
    """Yield the whole lines after an offset in blocks. A last line without its line break does not count."""
    file.seek(offset)
    rest = b""
    while data := file.read(BLOCK):
        rest += data
        end = rest.rfind(b"\n") + 1
        if end:
            yield rest[:end]
            rest = rest[end:]
        if len(rest) > _MOST_BYTES:
            raise DalError(f"answers: expected lines of at most {_MOST_BYTES:,} bytes, got a longer one. Restore it.")


def end_of_lines(block: bytes, count: int) -> int:
    """Return the size of the first ``count`` whole lines, or of all if there are fewer.

    >>> end_of_lines(b"a\\nbc\\nd\\n", 2), end_of_lines(b"a\\n", 2)
    (5, 2)
    """
    if block.count(b"\n") <= count:
        return len(block)
    return len(block) - len(block.split(b"\n", count)[-1])
