"""Parses command lines with options and other arguments in any order."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence

from dal.costs.prices import PRICE_NAMES
from dal.errors import DalError, bad_value
from dal.runtime.user_paths import exists, is_folder

Takes = Callable[[str], bool]
"""Whether an argument is a value of an option, rather than an argument of the command."""


def is_number(text: str) -> bool:
    """Return whether an argument is a number.

    >>> is_number("0.9"), is_number("runs")
    (True, False)
    """
    try:
        float(text)
    except ValueError:
        return False
    return True


def is_price(text: str) -> bool:
    """Return whether an argument looks like a price.

    A folder whose name contains ``=`` does not.
    """
    name, equals, _ = text.partition("=")
    return bool(equals) and (name in PRICE_NAMES or not exists(text))


def is_key(text: str) -> bool:
    """Return whether an argument is a configuration key rather than a folder."""
    return not exists(text)


MANY: Mapping[str, Takes] = {"--prices": is_price, "--target": is_number, "--vary": is_key, "--across": is_key}
"""Options that take several values, and a test for the arguments that are values."""


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the arguments of a command.

    Options and other arguments can be mixed. An option that takes several values ends at the first argument that cannot
    be a value, so that folders can follow it.
    """
    many = {name for action in parser._actions if action.nargs == "+" for name in action.option_strings}
    return parser.parse_intermixed_args(_one_value_an_option(arguments, many))


def _one_value_an_option(arguments: Sequence[str], many: set[str]) -> list[str]:
    """Return arguments with ``--target=0.9 --target=0.95`` in place of ``--target 0.9 0.95``."""
    result: list[str] = []
    at = 0
    while at < len(arguments):
        name, equals, first = arguments[at].partition("=")
        takes = MANY.get(name)
        at += 1
        if name == "--":
            return [*result, *arguments[at - 1 :]]
        values: list[str] = [first] if equals else []
        if takes is not None and name in many:
            # Always give the option its first value, so that the error for a wrong value names the option.
            while at < len(arguments) and not arguments[at].startswith("--") and (not values or takes(arguments[at])):
                values.append(arguments[at])
                at += 1
            result += [f"{name}={value}" for value in values] or [name]
        else:
            result.append(arguments[at - 1])
    return result


def run_and_overrides(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """Split the arguments of `dal rank` into run folder and overrides.

    The folder is the argument without ``=``, or else the first argument that is an existing folder. Raises DalError if
    there is no folder or more than one.

    >>> run_and_overrides(["acquisition=bald", "runs/a", "seed=1"])
    ('runs/a', ['acquisition=bald', 'seed=1'])
    """
    folders = [a for a in arguments if "=" not in a and not a.startswith("~")]
    folders = folders or [a for a in arguments if is_folder(a)][:1]
    if not folders:
        raise DalError("run: expected a run folder, got none.")
    if len(folders) > 1:
        raise bad_value("overrides", "KEY=VALUE, and one run folder", folders[1])
    left = list(arguments)
    left.remove(folders[0])
    return folders[0], left
