"""Error types and the standard message, "argument: expected X, got Y"."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class DalError(ValueError):
    """Bad input, described in one sentence.

    The command line prints the sentence without a traceback and exits with 2.
    """


class WaitingForAnswers(DalError):
    """Labels that an oracle does not have yet.

    The records hold the query. The same call resumes once the labels exist. The command line prints the sentence
    and exits with 3.
    """


class NonFiniteError(DalError):
    """A loss or score that is NaN or infinite.

    ``row`` is the first such row of a batch, if known.
    """

    def __init__(self, message: str, row: int | None = None) -> None:
        super().__init__(message)
        self.row = row


def bad_value(argument: str, expected: str, got: object) -> DalError:
    """Return the error for an invalid value of an argument.

    >>> str(bad_value("query_size", "at least 1", 0))
    'query_size: expected at least 1, got 0.'
    """
    return DalError(f"{argument}: expected {expected}, got {shortened(got)}.")


def bad_content(argument: str, expected: str, found: str) -> DalError:
    """Return the error for an argument whose content does not fit. ``found`` describes it in words.

    >>> str(bad_content("data.root", "a folder tree with images", "none in 'photos'"))
    "data.root: expected a folder tree with images, got none in 'photos'."
    """
    return DalError(f"{argument}: expected {expected}, got {found}.")


def shortened(value: object) -> str:
    """Return the repr of a value, without the middle of a long one.

    >>> len(shortened("x" * 200_000)), shortened("x")
    (303, "'x'")
    """
    text = repr(value)
    return text if len(text) <= 2 * _HALF else f"{text[:_HALF]}...{text[-_HALF:]}"


def reason(error: BaseException) -> str:
    """Return the message of another library's error in one line, or its type if it has none.

    >>> reason(ValueError("a\\n  b.")), reason(KeyboardInterrupt())
    ('a b', 'KeyboardInterrupt')
    """
    text = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return text if len(text) <= 2 * _HALF else f"{text[:_HALF]}...{text[-_HALF:]}"


_HALF = 150

_MOST_SHOWN = 40


def unknown_choice(argument: str, choices: Iterable[str], got: str) -> DalError:
    """Return the error for an unknown name, with the nearest choice.

    Of more than 40 choices, the sentence lists the first few.

    >>> str(unknown_choice("acquisition", ["badge", "bald"], "blad"))
    "acquisition: expected one of badge, bald, got 'blad' (did you mean bald?)."
    """
    names = sorted(choices)
    text = str(got)
    same = [name for name in names if name.lower() == text.lower()]
    near = same or get_close_matches(text[:_HALF], names, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    shown = ", ".join(names if len(names) <= _MOST_SHOWN else [*names[:5], f"... ({len(names)} in all)"])
    return DalError(f"{argument}: expected one of {shown}, got {shortened(got)}{hint}.")
