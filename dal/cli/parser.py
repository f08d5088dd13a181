"""A parser whose errors are one sentence each."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from dal.errors import DalError, bad_value, shortened, unknown_choice

_WHOLE = re.compile(r"[+-]?[0-9]{1,15}")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_NO_VALUE = re.compile(r"argument (?P<name>--?[\w-]+)\S*: expected (?:one|at least one) argument")
_UNUSED_VALUE = re.compile(r"argument (?P<name>--?[\w-]+)\S*: ignored explicit argument (?P<value>.*)")
_MISSING = "the following arguments are required: "


class Parser(argparse.ArgumentParser):
    """Raises DalError in place of printing the usage, and takes no abbreviation of an option.

    >>> parser = Parser(prog="dal report")
    >>> _ = parser.add_argument("--target", type=number("a share"))
    >>> parser.parse_args(["--target", "abc"])
    Traceback (most recent call last):
    dal.errors.DalError: --target: expected a share, got 'abc'.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{"allow_abbrev": False, **options})

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        self.check_options(args or ())
        return super().parse_args(args, namespace)

    def parse_intermixed_args(self, args: Any = None, namespace: Any = None) -> Any:
        self.check_options(args or ())
        return super().parse_intermixed_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        if message.startswith(_MISSING):
            raise DalError(f"{self.prog}: expected {message.removeprefix(_MISSING)}, got none. See {self.prog} --help.")
        if found := _NO_VALUE.match(message):
            raise DalError(f"{found['name']}: expected a value, got none.")
        if found := _UNUSED_VALUE.match(message):
            raise DalError(f"{found['name']}: expected no value, got {found['value']}.")
        if message.startswith("unrecognized arguments: "):
            known = " ".join(str(one.metavar or one.dest) for one in self._actions if not one.option_strings)
            given = message.removeprefix("unrecognized arguments: ")
            raise bad_value(self.prog, f"only {known} and options" if known else "only options", given)
        # An option with a short form too is --cfg/-c in the messages of argparse.
        name, colon, rest = message.removeprefix("argument ").partition(": ")
        raise DalError(f"{name.partition('/')[0]}{colon}{rest}.")

    def check_options(self, arguments: Sequence[str]) -> None:
        """Raise DalError for an unknown option, before anything else that is wrong."""
        known = self._option_string_actions
        for text in arguments:
            if text == "--":
                return
            name = text.partition("=")[0]
            is_option = text.startswith("-") and len(text) > 1 and " " not in text and not _NUMBER.fullmatch(text)
            if is_option and name not in known:
                raise unknown_choice(self.prog, [one for one in known if one.startswith("--")], name)


def whole_number(text: str) -> int:
    """Return a whole number, for an option that takes one."""
    if not _WHOLE.fullmatch(text):
        raise argparse.ArgumentTypeError(f"expected a whole number, got {shortened(text)}")
    return int(text)


def number(expected: str) -> Callable[[str], float]:
    """Return a function that parses a finite number, for an option that takes what ``expected`` says."""

    def parsed(text: str) -> float:
        value = float(text) if _NUMBER.fullmatch(text) else math.nan
        if not math.isfinite(value):
            raise argparse.ArgumentTypeError(f"expected {expected}, got {shortened(text)}")
        return value

    return parsed


def one_of(*names: str) -> Callable[[str], str]:
    """Return a function that checks a name, for an option that takes one of them.

    The choices of argparse have another sentence in each version of Python.
    """

    def checked(text: str) -> str:
        if text not in names:
            error = str(unknown_choice("option", names, text))
            raise argparse.ArgumentTypeError(error.partition(": ")[2].removesuffix("."))
        return text

    return checked
