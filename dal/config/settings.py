"""Lists the settings of a run, read from source text and presets."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dal.config.folder import config_folder
from dal.config.source import (
    PACKAGE,
    Field,
    Source,
    fields_of,
    find_class,
    find_value,
    first_sentence,
    subclasses,
    summary,
)
from dal.errors import unknown_choice
from dal.runtime.user_paths import is_file, user_path

GROUPS = {
    "acquisition": "Acquisition function, which chooses the images to label next, or a Python file that defines one.",
    "data": "Data set.",
    "model": "Preset for a network and its optimizer.",
    "experiment": "Preset for a data set: which images and network, how many labels.",
    "compute": "Preset for how much is computed: how rounds train and which points are scored.",
    "benchmark": "Preset for a benchmark regime: its budget, and what makes its pool hard.",
}
"""Each group of choices and its help sentence."""
LAUNCHER = "hydra/launcher"
"""Hydra's group of launchers, which run a grid on a cluster."""
NONE = "Sets nothing."
_PRESETS = ("compute", "model", "experiment", "benchmark")  # in the order in which one overrides another
_CLASSES = {"acquisition": "AcquisitionFunction", "data": "DataConfig"}
_FOLDERS = {"acquisition": PACKAGE / "acquisition", "data": PACKAGE / "data" / "sets"}
_SCHEMA = PACKAGE / "config" / "schema.py"


@dataclass(frozen=True)
class Setting:
    """One ``KEY=VALUE`` of the command line."""

    key: str
    value: Any
    sentence: str
    default: Any
    """The default of the dataclass, before presets change it."""
    origin: str = ""
    """The preset that the value comes from, such as ``compute=saver``."""


@dataclass(frozen=True)
class Section:
    """Related settings and their title."""

    title: str
    settings: tuple[Setting, ...]


def choices(group: str) -> dict[str, str]:
    """Return the choices of a group, with a help sentence for each.

    >>> list(choices("compute"))
    ['classic', 'early_stopping', 'long', 'long_saver', 'saver']
    """
    if group in _CLASSES:
        return {name: f"{summary(one.file)}." for name, one in _classes(group).items()}
    none = {"none": NONE} if group in ("model", "experiment", "benchmark") else {}
    return none | {path.stem: _header(path) for path in sorted((config_folder() / group).glob("*.yaml"))}


def chosen(overrides: Sequence[str] = ()) -> dict[str, list[str]]:
    """Return the choices of each group, several if overrides name several.

    Raises DalError for an unknown choice.

    >>> chosen(["experiment=cifar10"])["compute"]
    ['long']
    """
    given = {key: value.split(",") for key, _, value in (text.partition("=") for text in overrides) if key in GROUPS}
    for group, names in given.items():
        for name in names:
            if name not in choices(group) and not (group == "acquisition" and name.endswith(".py")):
                raise unknown_choice(group, choices(group), name)
    root = {f.name: f for f in fields_of(_schema_class("RunConfig"))}
    found = {group: [name] for entry in root["defaults"].default if entry != "_self_" for group, name in entry.items()}
    for group in ("experiment", "benchmark"):
        name = given.get(group, found[group])[0]
        found |= {overridden: [other] for overridden, other in _overridden_groups(group, name)}
    return found | given


def sections(overrides: Sequence[str] = ()) -> list[Section]:
    """Return all settings of a run with these overrides, in help order.

    Raises DalError for an unknown choice.
    """
    groups = chosen(overrides)
    values = _preset_values({group: names[0] for group, names in groups.items()})
    values |= {key: (value, "") for key, value in _plain_values(overrides)}

    def section(title: str, prefix: str, found: Sequence[Field]) -> Section:
        return Section(title, tuple(_setting(f"{prefix}{f.name}", f, values) for f in found))

    root = fields_of(_schema_class("RunConfig"))
    made = [section("Run", "", [f for f in root if f.name in ("seed", "run_dir")])]
    for name in groups["acquisition"]:
        own = _own_function(name) if name.endswith(".py") else _classes("acquisition")[name]
        if own is not None and (found := fields_of(own)):
            made.append(section(f"Acquisition function {Path(name).stem}", "acquisition.", found))
    taken = {setting.key for one in made for setting in one.settings}
    shared = [f for f in fields_of(_shared_class()) if f"acquisition.{f.name}" not in taken]
    made.append(section("Any acquisition function, for segmentation", "acquisition.", shared))
    for number, name in enumerate(groups["data"]):
        found = fields_of(_classes("data")[name])
        shared = [f for f in found if f.owner == "DataConfig"]
        if len(shared) < len(found):
            made.append(section(f"Data set {name}", "data.", [f for f in found if f not in shared]))
        if number == len(groups["data"]) - 1:
            made.append(section("Pool of any data set", "data.", shared))
    for name, title in _TITLES.items():
        if name == "trainer":
            table = find_value(PACKAGE / "config" / "trainer.py", "TRAINER_OPTIONS")
            found = [Field(key, default, sentence, "") for key, (default, sentence) in table.items()]
        else:
            found = fields_of(_schema_class(_annotation(name)))
        made.append(section(title, f"{name}.", found))
    return made


_TITLES = {
    "campaign": "Campaign: how many labels to buy, and when to stop",
    "model": "Model",
    "training": "Training of a round",
    "candidates": "Candidates: which unlabeled points to score",
    "scoring": "Scoring: how images are scored",
    "oracle": "Oracle: simulated answers",
    "prices": "Prices, for bills and campaign.cost_optimum",
    "diagnosis": "Records for dal explain; diagnosis=off records none",
    "trainer": "Lightning's Trainer (add any other of its options with +trainer.NAME=VALUE)",
}


def _setting(key: str, field: Field, values: Mapping[str, tuple[Any, str]]) -> Setting:
    value, origin = values.get(key, (field.default, ""))
    return Setting(key, value, field.sentence, field.default, origin)


def _schema_class(name: str) -> Source:
    found = find_class(_SCHEMA, name)
    assert found is not None, name
    return found


def _shared_class() -> Source:
    found = find_class(PACKAGE / "config" / "unit_settings.py", "AcquisitionSettings")
    assert found is not None
    return found


def _annotation(name: str) -> str:
    nodes = [n for n in _schema_class("RunConfig").node.body if isinstance(n, ast.AnnAssign)]
    return next(ast.unparse(n.annotation) for n in nodes if ast.unparse(n.target) == name)


def _classes(group: str) -> dict[str, Source]:
    found = {path.stem: subclasses(path, _CLASSES[group]) for path in sorted(_FOLDERS[group].glob("*.py"))}
    # base.py defines more base classes next to the root class, so its classes are not choices.
    return {name: classes[-1] for name, classes in found.items() if classes and name != "base"}


def _own_function(path: str) -> Source | None:
    file = user_path(path)
    classes = subclasses(file, _CLASSES["acquisition"]) if is_file(file) else []
    return classes[-1] if classes else None


def _header(path: Path) -> str:
    """Return the first sentence of a preset's head comment."""
    lines = path.read_text(encoding="utf-8").splitlines()
    comment = [line.removeprefix("#").strip() for line in lines if line.startswith("#") and "@package" not in line]
    return first_sentence("\n".join(comment))


def _preset(group: str, name: str) -> dict[str, Any]:
    if name == "none":
        return {}
    # PyYAML parses 1e-3 as text, so presets write 1.0e-3.
    return yaml.safe_load((config_folder() / group / f"{name}.yaml").read_text(encoding="utf-8")) or {}


def _overridden_groups(group: str, name: str) -> Iterator[tuple[str, str]]:
    for entry in _preset(group, name).get("defaults", []):
        if isinstance(entry, dict):
            for key, value in entry.items():
                if found := re.fullmatch(r"override /(\w+)", key):
                    yield found[1], value


def _preset_values(groups: Mapping[str, str]) -> dict[str, tuple[Any, str]]:
    found: dict[str, tuple[Any, str]] = {}
    for group in _PRESETS:
        found |= {key: (value, f"{group}={groups[group]}") for key, value in _flat(_set_by(group, groups[group]))}
    return found


def preset_keys() -> dict[str, list[str]]:
    """The groups of presets, and the keys that any preset of each sets.

    >>> "training.warm_start" in preset_keys()["compute"]
    True
    """
    return {
        group: list(dict.fromkeys(key for name in choices(group) for key, _ in _flat(_set_by(group, name))))
        for group in _PRESETS
    }


def _set_by(group: str, name: str) -> dict[str, Any]:
    return {key: value for key, value in _preset(group, name).items() if key != "defaults"}


def _plain_values(overrides: Sequence[str]) -> Iterator[tuple[str, Any]]:
    for text in overrides:
        key, equals, value = text.partition("=")
        if equals and key not in GROUPS:
            try:
                yield key, yaml.safe_load(value)
            except yaml.YAMLError:
                yield key, value


def _flat(nested: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in nested.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
