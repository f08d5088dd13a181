"""`dal run --help`: describes every choice and setting."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from dal.config.settings import GROUPS, LAUNCHER, choices, chosen, sections
from dal.runtime.safe_text import visible

_WIDEST, _NARROWEST = 120, 60
_USAGE = "usage: dal run [KEY=VALUE ...] [--multirun [--jobs N]] [--cfg job]"
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
    "--help, -h": "Show this help.",
    "--hydra-help": "Show the flags of Hydra, which parses this command line.",
}


def help_text(overrides: Sequence[str] = (), width: int = 80, bold: bool = False) -> str:
    """Return the help for these overrides, wrapped to ``width`` columns.

    Raises DalError for an unknown choice of a group.

    >>> "training.batch_size=64" in help_text()
    True
    """
    width = min(max(width, _NARROWEST), _WIDEST)
    column = 36 if width < 100 else 42
    groups = chosen(overrides)

    def title(text: str) -> Iterator[str]:
        yield ""
        yield from (f"\033[1m{line}\033[0m" if bold else line for line in textwrap.wrap(text, width))

    lines = [*textwrap.wrap(_USAGE, width, subsequent_indent=" " * len("usage: dal run "), break_on_hyphens=False), ""]
    for paragraph in _ABOUT.split("\n\n"):
        lines += [*textwrap.wrap(paragraph, width), ""]
    lines.pop()
    for group, sentence in GROUPS.items():
        lines += title(f"{group}={','.join(groups[group])}")
        lines += [*textwrap.wrap(sentence, width), *_table(choices(group), 23, width)]
    for section in sections(overrides):
        lines += title(section.title)
        entries = {
            f"{one.key}={_shown(one.value)}": one.sentence + (f" [{one.origin}]" if one.origin else "")
            for one in section.settings
        }
        lines += _table(entries, column, width)
    lines += [*title(f"{LAUNCHER}=NAME"), *textwrap.wrap(_LAUNCHERS, width), *_table(choices(LAUNCHER), 23, width)]
    lines += [*title("Flags"), *_table(_FLAGS, 23, width)]
    return "\n".join(lines)


def help_command(arguments: Sequence[str]) -> int:
    """Print the help for these arguments, and return the exit status.

    ``arguments`` do not include --help.
    """
    is_terminal = sys.stdout.isatty()
    overrides = [argument for argument in arguments if not argument.startswith("-")]
    print(
        help_text(
            list(map(visible, overrides)),
            shutil.get_terminal_size().columns,
            is_terminal and "NO_COLOR" not in os.environ,
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
