"""Drafts: events that are not in the journal yet, and their checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, TypeAlias
from uuid import uuid4

from dal.errors import DalError, bad_content, bad_value, unknown_choice
from dal.labeling.people.classes import Classes
from dal.labeling.people.events import (
    ANSWERS,
    CLASS_CHANGES,
    DAL,
    MOST_SECONDS,
    SOURCES,
    UNDO,
    Answer,
    ClassChange,
    Event,
    UnexpectedValue,
    is_duration,
)

Draft: TypeAlias = Mapping[str, Any]
"""The values of an event without ``seq``. ``event`` and ``at`` are filled in if they are missing."""

_KINDS = (*ANSWERS, UNDO, *CLASS_CHANGES)
_KEYS = {kind: tuple(field.name for field in fields(cls)) for cls in (Answer, ClassChange) for kind in cls.kinds}
_COUNT = "null or a whole number of at least 0"
_NAME = "the name of a class, a text of 1 to 4096 characters that does not begin with ="
_EXPECTED = {
    "event": "1 to 64 of the characters A-Z, a-z, 0-9, ., _ and -",
    "index": "a whole number of at least 0",
    "id": "a text of 1 to 4096 characters",
    "label": f"{_NAME}, of a label, and null of any other kind",
    "annotator": f"1 to 64 of the characters A-Z, a-z, 0-9, ., _, @ and -, and not {DAL}",
    "at": "a time in ISO 8601, such as 2026-01-31T12:00:00Z",
    "seconds": f"null or a number from 0 to {MOST_SECONDS:,}",
    "ask": _COUNT,
    "score_round": _COUNT,
    "behind": _COUNT,
    "suggestion": f"null or {_NAME}",
    "undoes": "the seq of an earlier answer, of an undo, and null of any other kind",
    "source": f"one of {', '.join(SOURCES)}",
    "name": _NAME,
    "to": f"another class as {_NAME}, of rename_class and merge_class, and null of any other kind",
}


def event_of_draft(draft: Draft, seq: int, classes: Classes, earlier: Sequence[Event] | Any) -> Event:
    """Return the event of a draft with this seq.

    ``classes`` are those after the events before it, and ``earlier(seq)`` returns an event before it. Raises DalError
    for values that an event cannot have, an unknown class, and an undo of another person's answer or of a change of
    the classes.
    """
    kind = draft.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise bad_value("kind", f"one of {', '.join(_KINDS)}", kind)
    unknown = sorted(str(key) for key in draft if key not in _KEYS[kind] or key == "seq")
    if unknown:
        raise unknown_choice("answer", [key for key in _KEYS[kind] if key != "seq"], unknown[0])
    values = {"event": str(uuid4()), "at": _now(), "source": "library", **draft, "seq": seq}
    values = {key: values[key] for key in _KEYS[kind] if key in values}
    if kind == UNDO:
        values = _undo(values, seq, earlier)
    try:
        event = Answer(**values) if kind in Answer.kinds else ClassChange(**values)
        _check_new(event)
    except UnexpectedValue as error:
        raise bad_value(error.name, _EXPECTED[error.name], values.get(error.name)) from None
    except TypeError:
        missing = next(key for key in ("index", "id", "name") if key in _KEYS[kind] and key not in values)
        raise bad_value(missing, _EXPECTED[missing], None) from None
    _check_classes(event, classes)
    return event


def _check_new(event: Event) -> None:
    """Raise UnexpectedValue for values that only events of an earlier version can have."""
    if isinstance(event, Answer) and event.seconds is not None and not is_duration(event.seconds):
        raise UnexpectedValue("seconds")
    if event.annotator == DAL and event.source != DAL:
        raise UnexpectedValue("annotator")
    try:
        datetime.fromisoformat(event.at)
    except ValueError:
        raise UnexpectedValue("at") from None


def _undo(values: dict[str, Any], seq: int, earlier: Any) -> dict[str, Any]:
    """Return the values of an undo with the point of the answer that it takes back."""
    undoes = values.get("undoes")
    if not isinstance(undoes, int) or isinstance(undoes, bool) or not 0 < undoes < seq:
        raise bad_value("undoes", f"the seq of an event from 1 to {seq - 1}", undoes)
    target = earlier(undoes)
    if not isinstance(target, Answer):
        raise bad_content("undoes", "an answer", f"event {undoes}, a change of the classes")
    if target.annotator != values.get("annotator", "me"):
        raise bad_content("undoes", f"an answer of {values.get('annotator', 'me')}", f"one of {target.annotator}")
    for key in ("index", "id"):
        if values.get(key, getattr(target, key)) != getattr(target, key):
            raise bad_value(key, f"{getattr(target, key)!r} as in event {undoes}", values[key])
    return {**values, "index": target.index, "id": target.id}


def _check_classes(event: Event, classes: Classes) -> None:
    if isinstance(event, ClassChange):
        refused = classes.refused(event.kind, event.name, event.to)
        if refused is not None:
            raise DalError(f"{event.kind}: expected {refused}.")
    elif event.label is not None and classes.resolved(event.label) is None:
        raise unknown_choice("label", classes.offered, event.label)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
