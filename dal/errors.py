"""Error types and the standard message, "argument: expected X, got Y"."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class DalError(ValueError):
    """Bad input, said in one sentence. The command line prints it without a traceback and exits with 2."""


class WaitingForAnswers(DalError):
    """Labels that an oracle does not have yet. The records hold the query, and the same call goes on with them.

    The command line prints the sentence and exits with 3.
    """


class NonFiniteError(DalError):
    """A loss or a score that is NaN or infinite. ``row`` is the first such row of a batch, where there is one."""

    def __init__(self, message: str, row: int | None = None) -> None:
        super().__init__(message)
        self.row = row


def bad_value(argument: str, expected: str, got: object) -> DalError:
    """The sentence for an argument that is not what it should be.

    >>> str(bad_value("query_size", "at least 1", 0))
    'query_size: expected at least 1, got 0.'
    """
    return DalError(f"{argument}: expected {expected}, got {got!r}.")


_MOST_SHOWN = 40


def unknown_choice(argument: str, choices: Iterable[str], got: str) -> DalError:
    """The sentence for a name that is not one of the choices, with the nearest one; of many choices the first few.

    >>> str(unknown_choice("acquisition", ["badge", "bald"], "blad"))
    "acquisition: expected one of badge, bald, got 'blad' (did you mean bald?)."
    """
    names = sorted(choices)
    near = get_close_matches(got, names, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    shown = ", ".join(names if len(names) <= _MOST_SHOWN else [*names[:5], f"... ({len(names)} in all)"])
    return DalError(f"{argument}: expected one of {shown}, got {got!r}{hint}.")
