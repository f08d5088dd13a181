"""Compares the data of a run with the data on resume."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from dal.errors import DalError

IDS, LABELS, CONTENT, TEST, MARKS, TEST_MARKS = range(6)
_CHANGED = {
    IDS: "other images (their ids or classes differ)",
    LABELS: "other labels of the same images",
    CONTENT: "other pixels under the same ids",
    TEST: "another test set (its ids, labels or pixels differ)",
    MARKS: "other pixels under the same ids",
    TEST_MARKS: "other pixels in the test set",
}


def changed(before: str, now: str) -> list[str]:
    """Return what differs between two fingerprints of data, in words.

    Parts that one of them lacks are not compared. Runs of older versions have only the first parts.

    >>> changed("1f-2b-3c-4d", "1f-9b-3c-4d"), changed("1f", "1f-9b-3c-4d")
    (['other labels of the same images'], [])
    """
    return [_CHANGED[part] for part in _changed(before, now)]


def _changed(before: str, now: str) -> list[int]:
    parts = zip(_CHANGED, before.split("-"), now.split("-"), strict=False)
    # A dataset may list its images only in one of the runs, for example in a cache. Marks of two kinds do not compare.
    return [part for part, old, new in parts if old and new and old != new and (old[0] == "~") == (new[0] == "~")]


def check_same_data(
    folder: Path, before: str, now: str, labels: bool = True, name_changes: Callable[[], Mapping[int, str]] = dict
) -> None:
    """Raise DalError if a run cannot resume with this data.

    Without ``labels``, the labels may differ, because a ranking does not read them. ``name_changes`` returns what
    differs in each part of the fingerprint, as far as the run records it.
    """
    words = changes_in_words(before, now, name_changes, () if labels else (LABELS, TEST, TEST_MARKS))
    if words:
        raise DalError(
            f"data: the run in {str(folder)!r} started with {words}. Restore the data, or choose another run_dir."
        )


def changes_in_words(
    before: str, now: str, name_changes: Callable[[], Mapping[int, str]], allowed: Collection[int] = ()
) -> str:
    """Return what differs in the parts that are not ``allowed`` to, or an empty text. See check_same_data()."""
    different = [part for part in _changed(before, now) if part not in allowed]
    named = name_changes() if different else {}
    if any(part in named for part in different):
        # With other images, the digest of all labels also differs. Only the named parts have changed.
        words = [f"{_CHANGED[part].partition(' (')[0]} ({named[part]})" for part in different if part in named]
    else:
        words = [_CHANGED[part] for part in different]
    return " and ".join(words)


def comparable(fingerprints: Sequence[str]) -> list[str]:
    """Reduce fingerprints of the same images to their common parts.

    >>> comparable(["1f", "1f-2b-3c-4d", "5f-6b-7c-8d"])
    ['1f', '1f', '5f-6b-7c-8d']
    """
    lengths: defaultdict[str, list[int]] = defaultdict(list)
    for fingerprint in fingerprints:
        lengths[fingerprint.split("-")[IDS]].append(fingerprint.count("-") + 1)
    return ["-".join((parts := f.split("-"))[: min(lengths[parts[IDS]])]) for f in fingerprints]
