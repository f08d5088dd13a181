"""Events of the answer journal: one JSON object a line."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import astuple, dataclass, fields
from typing import Any, ClassVar, TypeAlias

LABEL, NONE, UNSURE, SKIP, UNREADABLE = "label", "none", "unsure", "skip", "unreadable"
ANSWERS = (LABEL, NONE, UNSURE, SKIP, UNREADABLE)
"""Kinds of answers: a class, none of the classes, cannot tell, not now, and no readable image."""
UNDO = "undo"
ADD, RENAME, MERGE, RETIRE = "add_class", "rename_class", "merge_class", "retire_class"
CLASS_CHANGES = (ADD, RENAME, MERGE, RETIRE)
MASK = "=mask:"
"""What a label that is a mask begins with. The digest of the mask follows. No class begins with =."""
DAL = "dal"
"""The name under which dal itself answers, for images that cannot be decoded."""
SOURCES = ("page", "file", "library", DAL)
MOST_SECONDS = 86_400
"""The longest time of a new answer. An earlier version of dal may have recorded longer ones."""

_ANNOTATOR = re.compile(r"[A-Za-z0-9._@-]{1,64}")
_MASK = re.compile(MASK + "[0-9a-f]{64}")
_EVENT = re.compile(r"[A-Za-z0-9._-]{1,64}")
_MOST_TEXT = 4096


class UnexpectedValue(ValueError):
    """A value that an event cannot have. ``name`` is its key."""

    def __init__(self, name: str) -> None:
        super().__init__(f"unexpected value of {name}")
        self.name = name


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person says of one image, or takes back.

    ``seq`` counts from 1 in the order of the journal. ``event`` is a unique id that the client makes, so that a
    repeated request changes nothing. ``undoes`` is the ``seq`` that an ``undo`` takes back. ``ask`` is the line of
    asked.csv, ``score_round`` the round whose model chose the image, and ``behind`` the number of labels since then.
    ``suggestion`` is the class that the page showed. ``at`` (UTC, ISO 8601) and ``seconds`` never enter a computation
    of the model.
    """

    seq: int
    event: str
    kind: str
    index: int
    id: str
    label: str | None = None
    annotator: str = "me"
    at: str = ""
    seconds: float | None = None
    ask: int | None = None
    score_round: int | None = None
    behind: int | None = None
    suggestion: str | None = None
    undoes: int | None = None
    source: str = "page"

    kinds: ClassVar[tuple[str, ...]] = (*ANSWERS, UNDO)

    def __post_init__(self) -> None:
        _check_common(self)
        _expect(is_count(self.index), "index")
        _expect(_is_text(self.id), "id")
        _expect((self.kind == LABEL) == (self.label is not None), "label")
        _expect(self.label is None or is_label(self.label), "label")
        _expect(self.seconds is None or is_duration(self.seconds, sys.float_info.max), "seconds")
        for name in ("ask", "score_round", "behind"):
            value = getattr(self, name)
            _expect(value is None or is_count(value), name)
        _expect(self.suggestion is None or is_class_name(self.suggestion), "suggestion")
        _expect((self.kind == UNDO) == (self.undoes is not None), "undoes")
        _expect(self.undoes is None or (is_count(self.undoes) and 0 < self.undoes < self.seq), "undoes")


@dataclass(frozen=True, slots=True)
class ClassChange:
    """A change of the list of classes.

    ``add_class`` appends ``name``. ``rename_class`` gives it the name ``to``. ``merge_class`` gives its labels to the
    class ``to``. ``retire_class`` no longer offers it, and keeps its labels.
    """

    seq: int
    event: str
    kind: str
    name: str
    to: str | None = None
    annotator: str = "me"
    at: str = ""
    source: str = "page"

    kinds: ClassVar[tuple[str, ...]] = CLASS_CHANGES

    def __post_init__(self) -> None:
        _check_common(self)
        _expect(is_class_name(self.name), "name")
        _expect((self.kind in (RENAME, MERGE)) == (self.to is not None), "to")
        _expect(self.to is None or (is_class_name(self.to) and self.to != self.name), "to")


Event: TypeAlias = Answer | ClassChange

_KEYS = {kind: tuple(field.name for field in fields(cls)) for cls in (Answer, ClassChange) for kind in cls.kinds}
_TYPES: dict[str, type[Answer] | type[ClassChange]] = {k: cls for cls in (Answer, ClassChange) for k in cls.kinds}


def event_line(event: Event) -> str:
    """Return the line of an event, with its line break.

    >>> event_line(ClassChange(1, "a1", ADD, "cat")).startswith('{"seq":1,"event":"a1","kind":"add_class"')
    True
    """
    values = dict(zip(_KEYS[event.kind], astuple(event), strict=True))
    return json.dumps(values, ensure_ascii=True, allow_nan=False, separators=(",", ":")) + "\n"


def parse_event(line: str) -> Event:
    """Parse a line of the journal.

    Raises ValueError for other keys, another order of the keys, and values of the wrong type.
    """
    return event_of(json.loads(line))


def event_of(values: Any) -> Event:
    """Return the event with these values. Raises ValueError as parse_event() does."""
    if not isinstance(values, dict) or values.get("kind") not in _KEYS:
        raise ValueError("expected an event")
    if tuple(values) != _KEYS[values["kind"]]:
        raise ValueError("expected the keys of an event, in order")
    return _TYPES[values["kind"]](**values)


def is_class_name(value: object) -> bool:
    """Return whether a value can be the name of a class.

    A name that begins with = would look like one of the answers =none, =unsure, =skip and =unreadable.
    """
    return _is_text(value) and isinstance(value, str) and bool(value.strip()) and not value.startswith("=")


def is_mask(value: object) -> bool:
    """Return whether a label is a mask.

    >>> is_mask("=mask:" + "0" * 64), is_mask("=mask:"), is_mask("cat")
    (True, False, False)
    """
    return isinstance(value, str) and _MASK.fullmatch(value) is not None


def is_label(value: object) -> bool:
    """Return whether a value can be a label: the name of a class, or a mask."""
    return is_mask(value) or is_class_name(value)


def is_annotator(value: object) -> bool:
    """Return whether a value can be a person's name: 1 to 64 of ``[A-Za-z0-9._@-]``."""
    return isinstance(value, str) and _ANNOTATOR.fullmatch(value) is not None


def is_event_id(value: object) -> bool:
    """Return whether a value can be the id of an event, such as a UUID."""
    return isinstance(value, str) and _EVENT.fullmatch(value) is not None


def is_count(value: object) -> bool:
    """Return whether a value is a whole number from 0 to 2^53."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def is_duration(value: object, most: float = MOST_SECONDS) -> bool:
    """Return whether a value is a number of seconds from 0 to ``most``.

    >>> is_duration(2.5), is_duration(86_401), is_duration(True), is_duration(float("nan"))
    (True, False, False, False)
    """
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most


def _check_common(event: Event) -> None:
    _expect(is_count(event.seq) and event.seq > 0, "seq")
    _expect(is_event_id(event.event), "event")
    _expect(event.kind in event.kinds, "kind")
    _expect(is_annotator(event.annotator), "annotator")
    _expect(isinstance(event.at, str) and len(event.at) <= 40, "at")
    _expect(event.source in SOURCES, "source")


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _MOST_TEXT


def _expect(condition: bool, name: str) -> None:
    if not condition:
        raise UnexpectedValue(name)
