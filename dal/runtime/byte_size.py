"""Parses memory sizes such as "2GiB", "512MB", or plain bytes."""

from __future__ import annotations

import re

from dal.errors import bad_value

_UNITS = {"": 1, "b": 1} | {
    f"{letter}{middle}b": base**power
    for power, letter in enumerate("kmgt", start=1)
    for middle, base in (("", 1000), ("i", 1024))
}
_MOST = 2**60
_WRITTEN = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", re.IGNORECASE)


def parse_bytes(argument: str, text: str | int) -> int:
    """Parse a size such as "1.5GiB", "512MB" or "1000000" into bytes.

    KiB is 1024 bytes and kB is 1000 bytes. ``argument`` is the name for errors. Raises DalError unless the text is a
    size from 1 byte to 1 EiB.

    >>> parse_bytes("memory_budget", "1GiB"), parse_bytes("memory_budget", "1.5 kb"), parse_bytes("memory_budget", 7)
    (1073741824, 1500, 7)
    >>> parse_bytes("memory_budget", "lots")
    Traceback (most recent call last):
    dal.errors.DalError: memory_budget: expected a size such as 512MiB, 2GB or a number of bytes, got 'lots'.
    """
    match = None if isinstance(text, bool) else _WRITTEN.fullmatch(str(text))
    unit = match[2].lower() if match else ""
    size = float(match[1]) * _UNITS[unit] if match and unit in _UNITS else 0
    if not 1 <= size <= _MOST:
        raise bad_value(argument, "a size such as 512MiB, 2GB or a number of bytes", text)
    return int(size)
