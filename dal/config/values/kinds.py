"""The kinds of values, in the words of OmegaConf and of dal."""

from __future__ import annotations

_KINDS = {
    "converted to Integer": "a whole number",
    "converted to Float": "a number",
    "a valid bool": "true or false",
    "to string:": "a text",
    "too large to convert to float": "a finite number",
    "is not Optional": "a value other than null",
    "is not a ListConfig": "a list, such as [1,2]",
    "to Dict[": "settings by name, such as {a: 1}",
    "is not a subclass of": "settings by name, such as {a: 1}",
}
"""Maps parts of OmegaConf's messages to the expected values."""


def expected_kind(message: str) -> str | None:
    """Return the expected value that a message of OmegaConf is about, or None for another message.

    >>> expected_kind("Value 'x' of type 'str' could not be converted to Integer")
    'a whole number'
    """
    return next((words for part, words in _KINDS.items() if part in message), None)
