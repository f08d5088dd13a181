"""Error types and the standard message, "argument: expected X, got Y"."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches


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


def unknown_choice(argument: str, choices: Iterable[str], got: str, others: Iterable[str] = ()) -> DalError:
    """Return the error for an unknown name, with the nearest choice.

    Of more than 40 choices, the sentence lists a few, the nearest if there are any. ``others`` are choices that the
    sentence lists only if one of them is the nearest.

    >>> str(unknown_choice("acquisition", ["badge", "bald"], "blad"))
    "acquisition: expected one of badge, bald, got 'blad' (did you mean bald?)."
    """
    names = sorted(choices)
    near = close_names(str(got), [*names, *others])
    hint = f" (did you mean {near[0]}?)" if near else ""
    shown = ", ".join(names if len(names) <= _MOST_SHOWN else [*(near or names)[:5], f"... ({len(names)} in all)"])
    return DalError(f"{argument}: expected one of {shown}, got {shortened(got)}{hint}.")


def close_names(text: str, names: Iterable[str]) -> list[str]:
    """Return up to 5 of the names that ``text`` can mean, the nearest first.

    These are names that differ in case, in signs or in what all names start with. Without any, they are names that
    contain the text, the shortest first, and names with few other letters.

    >>> close_names("timm/resnet_50", ["timm/resnet50", "timm/resnet50d", "timm/vgg16"])
    ['timm/resnet50']
    >>> close_names("EMNIST", ["MNIST", "emnist/letters"]), close_names("nope", ["badge", "bald"])
    (['emnist/letters', 'MNIST'], [])
    """
    known = list(dict.fromkeys(names))
    starts = {name.partition("/")[0] if "/" in name else "" for name in known}
    start = starts.pop() if len(starts) == 1 else ""
    plain = {name: _plain(name.removeprefix(start)) for name in known}
    wanted = _plain(text[:_HALF].removeprefix(start))
    same = [name for name in known if plain[name] == wanted]
    if same or not wanted:
        return same[:5]
    inside = [name for name in known if wanted in plain[name]] if len(wanted) > 2 else []

    def goes_on(name: str) -> bool:
        """Return whether another number follows, as in resnet101 for resnet10."""
        return wanted[-1].isdigit() and plain[name].partition(wanted)[2][:1].isdigit()

    letters = set(get_close_matches(wanted, plain.values(), n=5))
    alike = sorted((name for name in known if plain[name] in letters), key=lambda name: -_ratio(wanted, plain[name]))
    return list(dict.fromkeys([*sorted(inside, key=lambda name: (len(name), goes_on(name), name)), *alike]))[:5]


def _plain(text: str) -> str:
    return "".join(filter(str.isalnum, text.lower()))


def _ratio(text: str, name: str) -> float:
    return SequenceMatcher(None, name, text).ratio()
