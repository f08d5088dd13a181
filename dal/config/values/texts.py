"""Keeps the values of text settings as the user typed them."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

from dal.config.schema import RunConfig
from dal.config.values.booleans import WORDS
from dal.config.values.grammar import parsed
from dal.data.sets.registry import registry as data_sets
from dal.errors import DalError, bad_value

_TEXTS = {"str", "str | None", "list[str]", "list[str] | None"}
_MOST_DIGITS = 1000  # Python refuses to convert more than 4300
_LEAF = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|[][,]|[^][,'"]+""")


def as_typed(override: str) -> str:
    """Quote values of text settings that Hydra would parse as another type.

    Hydra parses 1e3 as the number 1000.0 and true as True. Trainer options have no types, so their words for true and
    false are replaced.

    >>> as_typed("data.classes=[1e3,true,cat]"), as_typed("trainer.sync_batchnorm=yes")
    ("data.classes=['1e3','true',cat]", 'trainer.sync_batchnorm=true')
    """
    key, _, value = override.partition("=")
    if key.lstrip("+").startswith("trainer.") and value.strip().lower() in WORDS:
        return f"{key}={str(WORDS[value.strip().lower()]).lower()}"
    if key.lstrip("+") not in _text_keys() or not value or any(c in value for c in "(){}"):
        return override
    leaves = _LEAF.findall(value)
    if "".join(leaves) != value:
        return override
    in_list = value.lstrip().startswith("[")
    return f"{key}={''.join(quoted_leaf(leaf, in_list) for leaf in leaves)}"


def check_digits(key: str, value: str) -> None:
    """Raise DalError for a number with digits other than 0 to 9, or with too many of them.

    Text settings can contain both.

    >>> check_digits("run_dir", "３０")
    """
    name = key.lstrip("+~")
    for part in re.split(r"""[][(){},:'"]""", value):
        digits = re.sub(r"[-+._eE]", "", part.strip())
        if name in _text_keys() or not digits.isdecimal():
            continue
        if not digits.isascii():
            raise bad_value(name, "the digits 0 to 9", value)
        if len(digits) > _MOST_DIGITS:
            raise DalError(f"{name}: expected at most {_MOST_DIGITS} digits, got {len(digits)}.")


def quoted_leaf(leaf: str, in_list: bool) -> str:
    """Return a value with quotes if Hydra would not read it as text, such as nan.

    Null stays null outside a list.
    """
    text = leaf.strip()
    override = parsed(f"key={text}") if text else None
    if override is None:
        return leaf
    value = override.value()
    retyped = isinstance(value, (bool, int, float)) or (value is None and in_list)
    return leaf.replace(text, f"'{text}'", 1) if retyped else leaf


@cache
def _text_keys() -> frozenset[str]:
    """Return the dotted keys of all settings of type str or list[str]."""
    found = {f"data.{f.name}" for config in data_sets().values() for f in fields(config) if f.type in _TEXTS}
    for section in fields(RunConfig):
        made: Any = section.default_factory
        if section.type in _TEXTS:
            found.add(section.name)
        elif isinstance(made, type) and is_dataclass(made):
            found |= {f"{section.name}.{f.name}" for f in fields(made) if f.type in _TEXTS}
    return frozenset(found)
