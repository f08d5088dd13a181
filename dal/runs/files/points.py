"""The points of the data that a run started with: ids, labels and digests.

The fingerprint in state.json tells whether the data has changed. This file tells which images have.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dal.runs.files.atomic import write_bytes
from dal.runs.files.committed import MOST_BYTES, check_file, damaged, parsed, read_bytes
from dal.runs.files.same_data import CONTENT, IDS, LABELS, MARKS, TEST, TEST_MARKS
from dal.runs.layout import POINTS
from dal.runtime.safe_text import visible

_Points = Mapping[str, Any]
_NAMED = 3
_CONTENTS = ("digests", "marks")
_GZIP = 16 + zlib.MAX_WBITS


def write_points(folder: Path, fingerprint: str) -> dict[str, str]:
    """Write the points of a Fingerprint, and return the digest of the file by its name.

    A plain string has no points.
    """
    points = _points_of(fingerprint)
    if points is None:
        return {}
    text = json.dumps(points, separators=(",", ":"))
    return {POINTS: write_bytes(folder / POINTS, gzip.compress(text.encode(), compresslevel=3, mtime=0))}


def _points_of(fingerprint: str) -> _Points | None:
    points: Callable[[], _Points] | None = getattr(fingerprint, "points", None)
    return None if points is None else points()


def committed_ids(folder: Path, state: Mapping[str, Any]) -> list[str] | None:
    """Return the ids of the pool by index, or None if the run is of an older version.

    Raises DalError for a damaged file.
    """
    points = committed_points(folder, state)
    return None if points is None else list(points["train"]["ids"])


def committed_points(folder: Path, state: Mapping[str, Any]) -> _Points | None:
    """Return the class names, and the ids, labels and digests of each split, or None in a run of an older version.

    Raises DalError for a damaged file.
    """
    return _read(folder, state) if POINTS in state.get("digests", {}) else None


def committed_digests(folder: Path, state: Mapping[str, Any]) -> list[bytes] | None:
    """Return the digests of the images of the pool by index, or None if the run does not record them.

    Raises DalError for a damaged file.
    """
    if POINTS not in state.get("digests", {}):
        return None
    found: list[str] | None = _read(folder, state)["train"]["digests"]
    return None if found is None else parsed(folder, POINTS, lambda: [bytes.fromhex(digest) for digest in found])


def named_changes(folder: Path, state: Mapping[str, Any], now: str) -> dict[int, str]:
    """Describe what differs in each part of the fingerprint, with the first names.

    Empty if the run is of an older version, or if ``now`` is not a Fingerprint. Raises DalError for a damaged file.
    """
    points = _points_of(now)
    if points is None or POINTS not in state.get("digests", {}):
        return {}
    return differences(_read(folder, state), points)


def _read(folder: Path, state: Mapping[str, Any]) -> _Points:
    check_file(folder, POINTS, state)
    packed = read_bytes(folder, POINTS)

    def parse() -> _Points:
        unpacked = zlib.decompressobj(_GZIP).decompress(packed, MOST_BYTES)
        points: Any = json.loads(unpacked)
        if not _are_texts(points["classes"]) or not all(_is_split(points[name]) for name in _splits(points)):
            raise ValueError(POINTS)
        return dict(points)

    try:
        return parsed(folder, POINTS, parse)
    except zlib.error as error:
        raise damaged(folder, POINTS) from error


def _splits(points: _Points) -> list[str]:
    return ["train", *(["test"] if "test" in points else [])]


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _is_split(value: Any) -> bool:
    lists = [value["ids"], value["labels"]]
    lists += [contents for contents in (value["digests"], value.get("marks")) if contents is not None]
    return all(_are_texts(one) and len(one) == len(lists[0]) for one in lists)


def differences(old: _Points, new: _Points) -> dict[int, str]:
    """Describe the differences in each part of a fingerprint.

    >>> one = {"ids": ["a.jpg"], "labels": ["cat"], "digests": ["1f"]}
    >>> differences({"classes": [], "train": one}, {"classes": [], "train": one | {"labels": ["dog"]}})[LABELS]
    '1 changed: a.jpg: dog, was cat'
    """
    found = _of_split(old["train"], new["train"])
    found[IDS] = "; ".join(filter(None, [_classes(old["classes"], new["classes"]), found[IDS]]))
    if "test" in old and "test" in new:
        test = _of_split(old["test"], new["test"])
        found[TEST_MARKS] = test.pop(MARKS)
        what = {IDS: "", LABELS: "labels ", CONTENT: "pixels "}
        found[TEST] = "; ".join(what[part] + text for part, text in test.items() if text)
    elif "test" in old or "test" in new:
        found[TEST] = "none before" if "test" in new else "none now"
    return {part: text for part, text in found.items() if text}


def _classes(old: Sequence[str], new: Sequence[str]) -> str:
    kinds = {"new": [c for c in new if c not in set(old)], "missing": [c for c in old if c not in set(new)]}
    texts = [
        f"{'class' if len(names) == 1 else 'classes'} {what}: {_some(names)}" for what, names in kinds.items() if names
    ]
    return "; ".join(texts) or ("" if list(old) == list(new) else "classes in another order")


def _of_split(old: _Points, new: _Points) -> dict[int, str]:
    before, now = _by_id(old), _by_id(new)
    kinds = {"new": [name for name in now if name not in before], "missing": [n for n in before if n not in now]}
    ids = "; ".join(f"{len(names):,} {what}: {_some(names)}" for what, names in kinds.items() if names)
    if not ids and list(before) != list(now):
        ids = "in another order"
    both = [(name, before[name], now[name]) for name in now if name in before]
    labels = [f"{name}: {after[0]}, was {first[0]}" for name, first, after in both if first[0] != after[0]]
    # A mark is empty for an image of which nothing is known.
    contents = [
        [name for name, first, after in both if first[place] and after[place] and first[place] != after[place]]
        for place in (1, 2)
    ]
    return {
        IDS: ids,
        LABELS: _changed(labels, "; "),
        CONTENT: _changed(contents[0], ", "),
        MARKS: _changed(contents[1], ", "),
    }


def _by_id(points: _Points) -> dict[str, tuple[str, str | None, str | None]]:
    contents = [points.get(name) or [None] * len(points["ids"]) for name in _CONTENTS]
    return dict(zip(points["ids"], zip(points["labels"], *contents, strict=True), strict=True))


def _changed(names: Sequence[str], between: str) -> str:
    return f"{len(names):,} changed: {_some(names, between)}" if names else ""


def _some(names: Sequence[str], between: str = ", ") -> str:
    return between.join([visible(name) for name in names[:_NAMED]] + ["..."] * (len(names) > _NAMED))
