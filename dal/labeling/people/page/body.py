"""The JSON body of a request, checked field by field."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from dal.errors import DalError, bad_value
from dal.labeling.people.events import (
    DAL,
    is_annotator,
    is_class_name,
    is_count,
    is_duration,
    is_event_id,
)

_TAB = re.compile(r"[A-Za-z0-9-]{1,40}")
_MOST_LISTED = 1000


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


class Body:
    """A JSON object. Each method returns a field, or raises DalError for a value of the wrong type."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    @classmethod
    def parse(cls, data: bytes) -> Body:
        """Parse the bytes of a request. Raises DalError for anything except a JSON object."""
        try:
            values = json.loads(data, parse_constant=_no_number)
        except (ValueError, RecursionError):
            raise DalError("body: expected a JSON object, got other bytes.") from None
        if not isinstance(values, dict):
            raise bad_value("body", "a JSON object", type(values).__name__)
        return cls(values)

    def annotator(self) -> str:
        """Return the name of the person."""
        value = self._values.get("annotator")
        if not (isinstance(value, str) and is_annotator(value) and value != DAL):
            raise bad_value("annotator", f"1 to 64 of A-Z a-z 0-9 . _ @ -, and not {DAL}", value)
        return value

    def tab(self, name: str = "tab") -> str:
        """Return the id of the browser tab."""
        value = self._values.get(name)
        if not (isinstance(value, str) and _TAB.fullmatch(value)):
            raise bad_value(name, "1 to 40 of A-Z a-z 0-9 -", value)
        return value

    def reloaded(self) -> str | None:
        """Return the id that the tab had before a reload, or None if it was not reloaded."""
        return None if self._values.get("reloaded") is None else self.tab("reloaded")

    def event(self) -> str:
        """Return the id of an event."""
        value = self._values.get("event")
        if not (isinstance(value, str) and is_event_id(value)):
            raise bad_value("event", "1 to 64 of A-Z a-z 0-9 . _ -", value)
        return value

    def count(self, name: str, most: int) -> int:
        """Return a whole number from 0 to ``most``."""
        value = self._values.get(name)
        if not (isinstance(value, int) and is_count(value) and value <= most):
            raise bad_value(name, f"a whole number from 0 to {most}", value)
        return value

    def optional_count(self, name: str) -> int | None:
        """Return a whole number, or None if the field is missing or null."""
        return None if self._values.get(name) is None else self.count(name, 2**53 - 1)

    def counts(self, name: str) -> list[int]:
        """Return a list of whole numbers, which may be missing."""
        value = self._values.get(name, [])
        if not (isinstance(value, list) and len(value) <= _MOST_LISTED and all(map(is_count, value))):
            raise bad_value(name, f"at most {_MOST_LISTED} whole numbers", value)
        return value

    def seconds(self, name: str, most: float) -> float | None:
        """Return seconds rounded to milliseconds, or None if they are missing or null."""
        value = self._values.get(name)
        if value is None:
            return None
        if not is_duration(value, most):
            raise bad_value(name, f"null or a number from 0 to {most:,}", value)
        return round(float(value), 3)

    def flag(self, name: str) -> bool:
        """Return whether a field is true."""
        return self._values.get(name) is True

    def text(self, name: str) -> str | None:
        """Return a text, or None if it is missing or null."""
        value = self._values.get(name)
        if value is not None and not isinstance(value, str):
            raise bad_value(name, "text", value)
        return value

    def class_name(self, name: str, is_new: bool) -> str:
        """Return the name of a class. A new one gets no spaces around it."""
        value = self.text(name)
        if value is not None and is_new:
            value = value.strip()
        if value is not None and is_new and not value.isprintable():
            raise bad_value(name, "a name of printable characters", value)
        if value is None or not is_class_name(value):
            raise bad_value(name, "the name of a class, which is not empty and does not begin with =", value)
        return value

    def bodies(self, name: str) -> list[Body]:
        """Return a list of JSON objects."""
        value = self._values.get(name)
        if not (isinstance(value, list) and len(value) <= _MOST_LISTED and all(isinstance(one, dict) for one in value)):
            raise bad_value(name, f"a list of at most {_MOST_LISTED} objects", value)
        return [Body(one) for one in value]
