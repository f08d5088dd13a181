"""Splits the text of a CSV file into rows, with strict checks."""

from __future__ import annotations

import codecs
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from dal.errors import DalError

_BREAK = re.compile(r"\r\n|\r|\n")
_OTHER_ENCODINGS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


class Row(NamedTuple):
    """The stripped cells of a row, and its first line number."""

    line: int
    cells: list[str]


def read_text(path: Path, argument: str = "data.csv") -> str:
    """Return the text of a UTF-8 file without its byte-order mark.

    Raises DalError if it cannot be read, is not a regular file, has another encoding, or contains a NUL character.
    """
    try:
        # Without O_NONBLOCK, opening a pipe waits for its writer.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with open(handle, "rb") as file:  # noqa: PTH123 (a descriptor)
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise _unreadable(argument, path, "a pipe, a device or a folder")
            data = file.read()
    except (OSError, ValueError) as error:
        if isinstance(error, DalError):
            raise
        raise _unreadable(argument, path, str(getattr(error, "strerror", None) or error)) from error
    for mark, name in _OTHER_ENCODINGS.items():
        if data.startswith(mark):
            raise _unreadable(argument, path, f"{name}. Save it as UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = _line(data[: error.start].decode("utf-8-sig"))
        raise _unreadable(argument, path, f"another encoding (line {line}). Save it as UTF-8") from error
    if "\0" in text:
        raise _unreadable(argument, path, f"a NUL character (line {_line(text[: text.index(chr(0))])})")
    return text


def rows(text: str, delimiter: str, path: Path, argument: str = "data.csv") -> Iterator[Row]:
    """Yield the rows that are not blank.

    Quotes follow RFC 4180: a quoted cell begins and ends with a quote, and a quote within it is doubled. Spaces around
    cells are ignored.

    Raises DalError, with the line, for any other quote.
    """
    space = " *" if delimiter == "\t" else r"[ \t]*"
    end = rf"(?P<end>{re.escape(delimiter)}|\r\n|\r|\n|\Z)"
    quoted = rf'{space}"(?P<quoted>[^"]*(?:""[^"]*)*)"{space}'
    cell = re.compile(rf'(?:{quoted}|(?P<plain>[^"\r\n{re.escape(delimiter)}]*)){end}')
    line, position = 1, 0
    while position < len(text):
        first, cells, ended = line, list[str](), False
        while not ended:
            match = cell.match(text, position)
            if match is None:
                raise DalError(
                    f"{argument}: expected quotes only around cells, and doubled within them, got another quote (line "
                    f"{line} of {path})."
                )
            inside = match["quoted"]
            cells.append((match["plain"] if inside is None else inside.replace('""', '"')).strip())
            line += len(_BREAK.findall(match[0]))
            position, ended = match.end(), match["end"] != delimiter
        if any(cells):
            yield Row(first, cells)


def _line(text: str) -> int:
    return len(_BREAK.findall(text)) + 1


def _unreadable(argument: str, path: Path, reason: str) -> DalError:
    kind = "text file" if path.suffix.lower() == ".txt" else "CSV file"
    return DalError(f"{argument}: expected a readable {kind} in UTF-8 at {path}, got {reason}.")
