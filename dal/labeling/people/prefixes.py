"""Checks that the journal still begins with the lines that a run saw."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from dal.errors import DalError
from dal.labeling.people.lines import end_of_lines, whole_lines
from dal.runs.files.committed import file_of
from dal.runs.layout import ANSWERS
from dal.runs.round import Round
from dal.runtime.refusals import explained

Seen = tuple[int, str | None]
"""How many lines a commit saw, and their SHA-256. Older runs have none."""


def prefix_sha256(folder: Path, count: int) -> str:
    """Return the SHA-256 of the first ``count`` lines of the journal."""
    ((_, digest),) = _digests(folder, [count])
    return digest


def last_seen(asks: Iterable[Sequence[int]], answers_seq: int | None, digest: str | None) -> Seen:
    """Return what the last commit saw. ``asks`` are the queries as state.json has them."""
    return max([answers_seq or 0, *(ask[1] for ask in asks)]), digest


def seen_of(state: Any) -> Seen:
    """Return what the commit in a state saw."""
    return last_seen(state.get("asks", []), state.get("answers_seq"), state.get("answers_sha256"))


def check_prefixes(folder: Path, rows: Sequence[Round], seen: Seen = (0, None)) -> None:
    """Raise DalError if lines of the journal are gone or differ from those that a round or the last commit saw."""
    known = [(row.get("answers_seq", 0), row.get("answers_sha256"), f"round {row.round}") for row in rows]
    known.append((*seen, f"round {len(rows)}"))
    found = _digests(folder, [count for count, _, _ in known])
    for (count, digest, who), (there, now) in zip(known, found, strict=True):
        if there < count:
            raise DalError(
                f"answers: expected at least {count:,} events in {ANSWERS} of {str(folder)!r}, as the run has seen, "
                f"got {there:,}. Restore it, or choose another folder."
            )
        if digest is not None and digest != now:
            raise DalError(
                f"answers: the first {count:,} lines of {ANSWERS} in {str(folder)!r} are not those that {who} saw. "
                "Restore the file, and correct labels on the page or with dal tell."
            )


def _digests(folder: Path, counts: Sequence[int]) -> Iterator[tuple[int, str]]:
    """Yield the number of lines, at most each count, and their digest. The counts do not decrease."""
    digest, lines = hashlib.sha256(), 0
    blocks, rest = _blocks(folder), b""
    for count in counts:
        while lines < count and (rest := rest or next(blocks, b"")):
            end = end_of_lines(rest, count - lines)
            digest.update(rest[:end])
            lines += rest.count(b"\n", 0, end)
            rest = rest[end:]
        yield lines, digest.hexdigest()


def _blocks(folder: Path) -> Iterator[bytes]:
    if os.path.lexists(folder / ANSWERS):
        with explained(path=folder / ANSWERS), file_of(folder, ANSWERS).open("rb") as file:
            yield from whole_lines(file, 0)
