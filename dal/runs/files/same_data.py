"""Compares the data of a run with the data on resume."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from dal.errors import DalError

_IDS, _LABELS, _CONTENT, _TEST = range(4)
_CHANGED = {
    _IDS: "other images (their ids or classes differ)",
    _LABELS: "other labels of the same images",
    _CONTENT: "other pixels under the same ids",
    _TEST: "another test set (its ids, labels or pixels differ)",
}


def changed(before: str, now: str) -> list[str]:
    """Return what differs between two fingerprints of data, in words.

    Parts that one of them lacks are not compared. Runs of older versions have only the first part.

    >>> changed("1f-2b-3c-4d", "1f-9b-3c-4d"), changed("1f", "1f-9b-3c-4d")
    (['other labels of the same images'], [])
    """
    parts = zip(_CHANGED.values(), before.split("-"), now.split("-"), strict=False)
    return [words for words, old, new in parts if old and new and old != new]


def check_same_data(folder: Path, before: str, now: str, labels: bool = True) -> None:
    """Raise DalError if a run cannot resume with this data.

    Without ``labels``, the labels may differ, because a ranking does not read them.
    """
    allowed = () if labels else (_CHANGED[_LABELS], _CHANGED[_TEST])
    different = [words for words in changed(before, now) if words not in allowed]
    if different:
        raise DalError(
            f"data: the run in {str(folder)!r} started with {' and '.join(different)}. Restore the data, or choose "
            "another run_dir."
        )


def comparable(fingerprints: Sequence[str]) -> list[str]:
    """Reduce fingerprints of the same images to their common parts.

    >>> comparable(["1f", "1f-2b-3c-4d", "5f-6b-7c-8d"])
    ['1f', '1f', '5f-6b-7c-8d']
    """
    lengths: defaultdict[str, list[int]] = defaultdict(list)
    for fingerprint in fingerprints:
        lengths[fingerprint.split("-")[_IDS]].append(fingerprint.count("-") + 1)
    return ["-".join((parts := f.split("-"))[: min(lengths[parts[_IDS]])]) for f in fingerprints]
