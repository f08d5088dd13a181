"""The settings that a campaign records beside the configuration of its folder.

A folder that the library writes has any configuration. Its recorded settings tell reports what the run is, and tell
run() whether it may resume.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from dal.errors import DalError
from dal.runs.files.state import is_count
from dal.runs.saved_config import flatten, without_effect

Settings = Mapping[str, Any]

UNKNOWN = "unknown"
"""The acquisition function of a run that records none."""


def plain_settings(value: object) -> dict[str, Any]:
    """Return the fields of a dataclass that JSON can hold.

    Other values, such as tensors, have no text that is the same in each process.

    >>> from dal.costs.prices import PricesConfig
    >>> plain_settings(PricesConfig(label=0.5))["label"], plain_settings(object())
    (0.5, {})
    """
    if not is_dataclass(value):
        return {}
    found = {field.name: _plain(getattr(value, field.name, _NOTHING)) for field in fields(value) if field.init}
    return {name: one for name, one in found.items() if one is not _NOTHING}


_NOTHING = object()


def _plain(value: object) -> object:
    if value is None or (type(value) in (bool, int, float, str) and value == value):  # NaN differs from itself
        return value
    if isinstance(value, list | tuple):
        items = [_plain(item) for item in value]
        return _NOTHING if any(item is _NOTHING for item in items) else items
    return _NOTHING


def check_same_settings(before: Settings, now: Settings, place: Path | None) -> None:
    """Raise DalError with the first recorded setting that differs now.

    A setting that one of them lacks is not compared, because versions of dal differ in their settings.
    """
    old, new = dict(flatten(before)), dict(flatten(now))
    for key in new:
        # A module can gain layers in training, and its weights are compared anyway.
        is_fact = key.startswith("model.")
        if key in old and not is_fact and key not in without_effect(new) and old[key] != new[key]:
            where, remedy = "these records", "other records"
            if place is not None:
                where, remedy = f"the run in {str(place)!r}", "another run_dir, or remove the folder"
            raise DalError(f"{key}: expected {old[key]!r}, as {where} started with, got {new[key]!r}. Choose {remedy}.")


def with_settings(config: Mapping[str, Any], settings: Settings, folder: Path) -> dict[str, Any]:
    """Return the configuration with the settings that it lacks.

    Text under ``data`` or ``acquisition`` is a name. Without any name, the data set has the name of the folder, and the
    acquisition function is unknown.
    """
    found = {**settings, **config}
    for section, name in (("data", folder.resolve().name), ("acquisition", UNKNOWN)):
        given = found.get(section)
        given = given if isinstance(given, Mapping) else {} if given is None else {"name": str(given)}
        found[section] = {"name": name, **settings.get(section, {}), **given}
    for section in ("campaign", "prices"):
        if section in config and not isinstance(config[section], Mapping | None):
            found = {**found, section: settings.get(section, {}), f"{section}_note": config[section]}
    if not is_count(found.get("seed")) and "seed" in settings:
        found["seed"] = settings["seed"]
    return found
