"""Checks the values of settings that are true or false.

OmegaConf also accepts numbers, so that 5 would become true.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hydra.core.override_parser.types import ChoiceSweep, Override, QuotedString, RangeSweep
from omegaconf import BooleanNode, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dal.config.values.sweeps import swept
from dal.errors import bad_value

WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
"""The words for true and false, as in YAML."""


def check_booleans(config: DictConfig, override: Override) -> None:
    """Raise DalError if an override sets a boolean of this configuration to another value."""
    if override.is_delete():
        return
    value = override.value()
    values = swept(override) if isinstance(value, ChoiceSweep | RangeSweep) else [value]
    key = str(override.key_or_group)
    for one in values:
        _check(_node(config, key), key, one)


def check_references(config: DictConfig) -> None:
    """Raise DalError for a boolean that refers to another value, such as a number."""
    plain: Any = None
    for key, node in _booleans(config):
        if node._is_interpolation():
            plain = plain or OmegaConf.create(OmegaConf.to_container(config, resolve=False))
            _check(node, key, OmegaConf.select(plain, key))


def _check(node: Any, key: str, value: Any) -> None:
    if isinstance(value, dict) and isinstance(node, DictConfig):
        for name, inner in value.items():
            _check(_node(node, str(name)), f"{key}.{name}", inner)
    if not isinstance(node, BooleanNode) or value is None or isinstance(value, bool):
        return
    text: Any = value.text if isinstance(value, QuotedString) else value
    if not isinstance(text, str) or (text.lower() not in WORDS and "${" not in text):
        raise bad_value(key, "true or false", text)


def _node(config: Any, key: str) -> Any:
    for part in key.split("."):
        try:
            config = config._get_node(part) if isinstance(config, DictConfig) else None
        except OmegaConfBaseException:
            return None
    return config


def _booleans(config: DictConfig, prefix: str = "") -> Iterator[tuple[str, BooleanNode]]:
    if config._is_none() or config._is_missing() or config._is_interpolation():
        return
    for name in map(str, config):
        node: Any = config._get_node(name)
        if isinstance(node, BooleanNode):
            yield f"{prefix}{name}", node
        elif isinstance(node, DictConfig):
            yield from _booleans(node, f"{prefix}{name}.")
