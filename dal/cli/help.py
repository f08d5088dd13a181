"""`dal run --help`: describes every choice and setting."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from dal.cli.flag_parser import flag_parser
from dal.config.settings import GROUPS, LAUNCHER, choices, chosen, sections
from dal.errors import unknown_choice
from dal.runtime.safe_text import visible

_WIDEST, _NARROWEST = 120, 60
_USAGE = "usage: dal run [KEY=VALUE ...] [--multirun [--jobs N]] [--cfg job] [--help [SECTION ...]]"
_ABOUT = """\
Start a campaign of active learning, or resume the one in run_dir.

Each line below is a KEY=VALUE with the value that this command would use. [Brackets] mark values that a preset sets. \
Other choices have other settings: try dal run --help acquisition=bald experiment=cifar10."""
_LAUNCHERS = "Where --multirun runs its campaigns. The default is this machine."
_FLAGS = {
    "--multirun, -m": "Run a grid: every combination of values such as acquisition=random,margin 'seed=range(5)'. "
    "The same command resumes it.",
    "--jobs N, -j N": "With --multirun, run N campaigns at a time on this machine.",
    "--cfg job": "Print the configuration as YAML instead of running it.",
    "--help, -h": "Show this help, or only some sections of it: dal run --help training.",
    "--hydra-help": "Show the flags of Hydra, which reads this command line.",
}


def help_text(overrides: Sequence[str] = (), width: int = 80, bold: bool = False, only: Sequence[str] = ()) -> str:
    """Return the help for these overrides, wrapped to a width in columns.

    ``only`` are names of groups and of sections, such as ``training``; the help then has nothing else. Raises DalError
    for an unknown choice of a group, and for an unknown name.

    >>> "training.batch_size=64" in help_text()
    True
    """
    width = min(max(width, _NARROWEST), _WIDEST)
    column = 36 if width < 100 else 42
    groups = chosen(overrides)

    def title(text: str) -> Iterator[str]:
        yield ""
        yield from (f"\033[1m{line}\033[0m" if bold else line for line in textwrap.wrap(text, width))

    found = sections(overrides)
    names = {setting.key.partition(".")[0] for section in found for setting in section.settings} | {*GROUPS}
    for name in only:
        if name not in names:
            raise unknown_choice("--help", names, name)
    lines = [*textwrap.wrap(_USAGE, width, subsequent_indent=" " * len("usage: dal run "), break_on_hyphens=False), ""]
    for paragraph in _ABOUT.split("\n\n"):
        lines += [*textwrap.wrap(paragraph, width), ""]
    lines.pop()
    if only:
        lines = []
    for group, sentence in GROUPS.items():
        if only and group not in only:
            continue
        lines += title(f"{group}={','.join(groups[group])}")
        lines += [*textwrap.wrap(sentence, width), *_table(choices(group), 23, width)]
    for section in found:
        if only and not any(setting.key.partition(".")[0] in only for setting in section.settings):
            continue
        lines += title(section.title)
        entries = {
            f"{one.key}={_shown(one.value)}": one.sentence + (f" [{one.origin}]" if one.origin else "")
            for one in section.settings
        }
        lines += _table(entries, column, width)
    if only:
        return "\n".join(lines[1:])
    lines += [*title(f"{LAUNCHER}=NAME"), *textwrap.wrap(_LAUNCHERS, width), *_table(choices(LAUNCHER), 23, width)]
    lines += [*title("Flags"), *_table(_FLAGS, 23, width)]
    return "\n".join(lines)


def help_command(arguments: Sequence[str]) -> int:
    """Print the help for these arguments, and return the exit status.

    ``arguments`` do not include --help.
    """
    flag_parser().check_options([a for a in arguments if a.startswith("-") and a not in ("--help", "-h")])
    is_terminal = sys.stdout.isatty()
    given = [argument for argument in arguments if not argument.startswith("-")]
    overrides = [argument for argument in given if "=" in argument or argument.startswith("~")]
    print(
        help_text(
            list(map(visible, overrides)),
            shutil.get_terminal_size().columns,
            is_terminal and "NO_COLOR" not in os.environ,
            [visible(argument) for argument in given if argument not in overrides],
        )
    )
    return 0


def _table(entries: Mapping[str, str], column: int, width: int) -> Iterator[str]:
    """Yield lines with names on the left and sentences at ``column``.

    The sentence of a long name starts on the next line.
    """
    indent = " " * column
    for name, sentence in entries.items():
        first = f"  {name}".ljust(column)
        lines = textwrap.wrap(sentence, width - column, break_long_words=False, break_on_hyphens=False)
        if len(first.rstrip()) >= column:
            yield first.rstrip()
        elif lines:
            yield first + lines.pop(0)
        yield from (indent + line for line in lines)


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return value or "''"
    if isinstance(value, float):
        return repr(value)
    return str(yaml.safe_dump(value, default_flow_style=True, width=1000)).removesuffix("\n").removesuffix("\n...")
