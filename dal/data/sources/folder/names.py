"""Compares names by how they look instead of by code points."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from dal.errors import DalError, bad_value, shortened

# Invisible characters that Unicode does not classify as format characters.
_BLANK = {"\u034f", "\u115f", "\u1160", "\u17b4", "\u17b5", "\u2800", "\u3164", "\uffa0"}
# Cyrillic and Greek letters that look like Latin ones.
_LATIN = str.maketrans("АВЕКМНОРСТУХІЅЈаеорсухіѕјΑΒΕΖΗΙΚΜΝΟΡΤΥΧο", "ABEKMHOPCTYXISJaeopcyxisjABEZHIKMNOPTYXo")


def composed(name: str) -> str:
    """Return the name in Unicode's composed form (NFC), used for comparisons.

    >>> composed("cafe\\u0301") == "café"
    True
    """
    return unicodedata.normalize("NFC", name)


def is_utf8(name: str) -> bool:
    """Return whether the name of a file is valid UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_distinct(
    argument: str, names: Iterable[str], listed: Collection[str] = (), where: str = "data.classes"
) -> None:
    """Raise DalError if two names look the same, or if a name is invisible.

    Names that differ only in invisible characters or spaces are never allowed. Names that differ only in case, in a
    compatibility form such as full width, or in the script of a letter are allowed if ``listed`` contains both.
    ``where`` is the place of this list.

    >>> check_distinct("csv", ["dog", "dog\\u200b"])
    Traceback (most recent call last):
    dal.errors.DalError: csv: expected class names that look different, got 'dog' and 'dog\\u200b'.
    """
    exact: dict[str, str] = {}
    loose: dict[str, str] = {}
    for name in sorted(set(names)):
        visible = _visible(name)
        if not visible:
            raise bad_value(argument, "class names that are not empty", name)
        if (other := exact.setdefault(visible, name)) != name:
            raise DalError(f"{argument}: expected class names that look different, got {other!a} and {name!a}.")
        other = loose.setdefault(unicodedata.normalize("NFKC", visible).translate(_LATIN).lower(), name)
        if other != name and not {other, name} <= set(listed):
            raise DalError(
                f"{argument}: expected class names that differ in more than case or look-alike letters (or both in "
                f"{where}), got {other!a} and {name!a}."
            )


def check_class_names(classes: Iterable[object]) -> list[str]:
    """Return the user's class names in composed form.

    Raises DalError for a name that is empty or not a string.
    """
    names = []
    for name in classes:
        if not isinstance(name, str) or not _visible(name):
            raise bad_value("classes", "class names as text", name)
        names.append(composed(name.strip()))
    return names


def check_listed_names(argument: str, classes: Sequence[object]) -> None:
    """Raise DalError for an invisible, repeated or look-alike name in a list.

    >>> check_listed_names("classes", ["cat", "cat"])
    Traceback (most recent call last):
    dal.errors.DalError: classes: expected each class name once, got 'cat' twice.
    """
    if isinstance(classes, str):
        raise bad_value(argument, "a list of class names", classes)
    names = [str(name) for name in classes]
    check_distinct(argument, names, listed=names)
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise DalError(f"{argument}: expected each class name once, got {shortened(repeated[0])} twice.")


def distinct_names(classes: Iterable[object], marks: Sequence[str] | None) -> list[str]:
    """Return the class names of a data set, with a mark after those that repeat.

    The first of several synonyms is the name. ``marks`` identify the classes, and are their numbers by default.

    >>> distinct_names([("crane",), ("crane",), ("tench", "Tinca tinca")], ["n02012849", "n03126707", "n01440764"])
    ['crane (n02012849)', 'crane (n03126707)', 'tench']
    """
    names = [str(one[0]) if isinstance(one, (tuple, list)) and one else str(one) for one in classes]
    if marks is None or len(marks) != len(names):
        marks = [str(number) for number in range(len(names))]
    count = Counter(map(_visible, names))
    return [f"{n} ({mark})" if n and count[_visible(n)] > 1 else n for n, mark in zip(names, marks, strict=True)]


def _visible(name: str) -> str:
    seen = (c for c in composed(name) if not _is_invisible(c))
    return composed(" ".join("".join(seen).split()))


def _is_invisible(character: str) -> bool:
    if character in _BLANK or "\ufe00" <= character <= "\ufe0f" or "\u180b" <= character <= "\u180f":
        return True
    return unicodedata.category(character) == "Cf" or (
        unicodedata.category(character) == "Cc" and not character.isspace()
    )
