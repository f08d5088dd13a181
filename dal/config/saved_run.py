"""Reads the configuration of an untrusted run folder.

Reading a folder must not run code from it. An acquisition function in a Python file is imported only if the command
line names the file or this machine has run it before (see dal.config.trusted_files). Trainer options that could name
classes are ignored.
"""

from __future__ import annotations

import copy
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_type_hints

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dal.acquisition.own_file import load_own_file
from dal.acquisition.registry import registry as acquisition_functions
from dal.config.overrides import check_overrides, compose, parse, quoted, under_current_keys
from dal.config.schema import RunConfig, check_unchanged, option_type
from dal.config.trainer import TRAINER_OPTIONS
from dal.config.trusted_files import is_trusted
from dal.config.unit_settings import unit_fields
from dal.data.sets.registry import registry as data_sets
from dal.errors import DalError, bad_value, unknown_choice
from dal.runs.files.committed import check_file, damaged
from dal.runs.files.state import read_state
from dal.runs.layout import CONFIG
from dal.runs.saved_config import load_config


def config_to_rank(run: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Return the configuration of a run with the overrides applied.

    Raises DalError for a damaged configuration, and for a Python file that the overrides do not name and this machine
    has not run.
    """
    state = read_state(run)
    saved = load_config(run / CONFIG)
    check_file(run, CONFIG, state)
    _check_values(run, saved)
    saved["trainer"] = {key: value for key, value in saved.get("trainer", {}).items() if is_plain(key, value)}
    overrides = under_current_keys(quoted(list(overrides)))
    named = [str(o.value()) for o in parse(overrides) if o.key_or_group in ("acquisition", "acquisition.file")]
    if not any(override.key_or_group == "acquisition" for override in parse(overrides)):
        _check_trust(run, saved["acquisition"], named)
    config = _with_overrides(copy.deepcopy(saved), overrides) if overrides else saved
    _check_trust(run, config["acquisition"], named)
    _check_same(saved, config)
    return config


def _check_same(saved: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Raise DalError for other regions than those of the labels, or other image sizes than those of the weights."""
    keys = [("campaign", "unit"), ("data", "region_size"), ("training", "half_size_until")]
    if saved.get("campaign", {}).get("unit") == "region":
        keys.append(("data", "image_size"))
    for section, key in keys:
        default = {"unit": "image", "half_size_until": 0}.get(key)
        before, now = (one.get(section, {}).get(key, default) for one in (saved, config))
        if now != before:
            raise bad_value(f"{section}.{key}", f"{before}, as at the start of the run", now)


def _check_trust(run: Path, acquisition: Mapping[str, Any], named: Sequence[str]) -> None:
    file = acquisition.get("file")
    if file is None or any(Path(file).resolve() == Path(one).resolve() for one in named):
        return
    check_unchanged(acquisition)
    if not is_trusted(file):
        named_file = shlex.quote(f"acquisition={file}")
        raise DalError(
            f"acquisition.file: expected a file that the command line names or that this machine has run, got {file!r} "
            f"in {CONFIG} of {str(run)!r}. Add {named_file} to run its code, or choose another function."
        )


def is_plain(key: str, value: object) -> bool:
    """Return whether a Trainer option names no class."""
    return key in TRAINER_OPTIONS and (value is None or isinstance(value, str | int | float))


def _check_values(run: Path, saved: Mapping[str, Any]) -> None:
    """Raise DalError for unknown names and values of other types."""
    for group, options in (("data", data_sets()), ("acquisition", acquisition_functions())):
        chosen = saved.get(group)
        if chosen is None:
            raise DalError(
                f"run: expected a run of dal run or dal label, got {str(run)!r}, whose {CONFIG} has no {group}. "
                "Use the program that made the run."
            )
        name = chosen.get("name") if isinstance(chosen, dict) else None
        file = chosen.get("file", "") if isinstance(chosen, dict) else ""
        if not isinstance(name, str) or not isinstance(file, str):
            raise damaged(run, CONFIG, f"{group}: it has no name")
        if not file or group == "data":
            if name not in options:
                raise unknown_choice(f"{group}.name in the {CONFIG} of {str(run)!r}", options, name)
            _check_types(run, group, option_type(name, options[name]), chosen)
    hints = get_type_hints(RunConfig)
    for key, value in saved.items():
        if key not in hints or key == "defaults":
            raise damaged(run, CONFIG, f"{key}: no such section")
        if key not in ("data", "acquisition"):
            _check_types(run, key, RunConfig, {key: value})


def _check_types(run: Path, section: str, cls: type[Any], values: Any) -> None:
    given = _without_references(values)
    try:
        merged = OmegaConf.merge(OmegaConf.structured(cls), OmegaConf.create(given))
        if not _are_like(given, OmegaConf.to_container(merged)):
            raise ValueError("a value has another type than its setting")
    except (OmegaConfBaseException, ValueError, TypeError, AttributeError) as error:
        raise damaged(run, CONFIG, f"{section}: {str(error).strip().splitlines()[0]}") from error


def _are_like(given: Any, merged: Any) -> bool:
    """Return whether OmegaConf has kept the types of all values, except for whole numbers where it expects others."""
    if isinstance(given, dict) and isinstance(merged, dict):
        return all(_are_like(one, merged.get(key)) for key, one in given.items())
    if isinstance(given, list) and isinstance(merged, list):
        return all(map(_are_like, given, merged))
    return type(given) is type(merged) or (type(given) is int and type(merged) is float)


def _without_references(value: Any) -> Any:
    """Return a copy in which OmegaConf does not interpret ${...}."""
    if isinstance(value, dict):
        return {key: _without_references(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_without_references(one) for one in value]
    return value.replace("${", "$ {") if isinstance(value, str) else value


def _with_overrides(saved: dict[str, Any], overrides: list[str]) -> dict[str, Any]:
    """Return the saved configuration with the overrides applied."""
    acquisition = saved["acquisition"]
    groups = [f"data={saved['data']['name']}", f"acquisition={acquisition.get('file', acquisition['name'])}"]
    # If a key occurs twice, Hydra uses the last value.
    named = [str(override.key_or_group) for override in parse(overrides)]
    groups = quoted([group for group in groups if group.partition("=")[0] not in named])
    chosen = [str(o.key_or_group) for o in check_overrides([*groups, *overrides])[len(groups) :]]
    composed = compose(["experiment=none", *groups, *overrides])
    for key in chosen:
        *parents, last = key.split(".")
        source, target = composed, saved
        for parent in parents:
            source, target = source[parent], target.setdefault(parent, {})
        target[last] = source[last]
    if saved["acquisition"] is not acquisition:
        _keep_unit_settings(acquisition, saved["acquisition"], chosen)
    return saved


def _keep_unit_settings(before: Mapping[str, Any], now: dict[str, Any], chosen: Sequence[str]) -> None:
    """Give another function the settings of units that the function of the run had, except those that are chosen."""
    options = acquisition_functions()
    cls = load_own_file(now["file"]).cls if "file" in now else options[now["name"]]
    names = {name for name, _, _ in unit_fields(cls)}
    # The Python file of the run's own function may not be trusted, so it is not read.
    if "file" not in before:
        names &= {name for name, _, _ in unit_fields(options[before["name"]])}
    for name in names & before.keys():
        if f"acquisition.{name}" not in chosen:
            now[name] = before[name]
