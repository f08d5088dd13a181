"""Reads, writes and compares a run's saved configuration."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from dal.errors import DalError
from dal.runs.files.committed import parsed, read_bytes

Config = Mapping[str, Any]

WHEN_ASKED = {
    "oracle.overlap",
    "oracle.poll_seconds",
    "oracle.prefetch",
    "oracle.refit_growth",
    "oracle.refit_labels",
}
"""Keys that say when people are asked. The records of a run contain what they led to."""

FREE = WHEN_ASKED | {
    "acquisition.file",
    "benchmark",
    "compute",
    "diagnosis.checks",
    "diagnosis.record",
    "oracle.wait",
    "run_dir",
    "scoring.batch_size",
    "scoring.num_workers",
    "scoring.disk_folder",
    "training.num_workers",
}
"""Keys that cannot change a result, so they may differ on resume. A digest identifies a file."""

ADDED = {
    "acquisition.max_per_image": None,
    "acquisition.per_cost": False,
    "acquisition.pool": "mean",
    "acquisition.top_k": 16,
    "campaign.click_seconds": 2.0,
    "campaign.clicks": None,
    "campaign.cost": "units",
    "campaign.test_size": 0,
    "campaign.unit": "image",
    "data.region_size": None,
    "data.task": "classification",
    "model.class_weights": None,
    "oracle.kind": "dataset",
    "training.half_size_until": 0,
}
"""Keys that older runs lack, with the value that they had in effect."""

RENAMED: dict[str, str] = {
    "candidates.embeddings": "candidates.features_file",
    "model.target_backbone": "model.final_backbone",
    "model.target_weights": "model.final_weights",
    "scoring.embeddings": "scoring.features_file",
    "scoring.target_inputs": "scoring.target_points",
}
"""Maps old dotted keys to their current keys or sections."""

REMOVED = {"training.rewind": 0.0, "training.replay": None, "campaign.grow_below": None}
"""Maps keys of removed options to the values that disabled them."""

REASONS = {
    "training.rewind": "it cost 3.5 points of area under the learning curve on Fashion-MNIST and 2.3 on digits",
    "training.replay": "it gained 0 points of area under the learning curve",
    "campaign.grow_below": "its condition never came about on Fashion-MNIST",
    "training.warm_start=auto": "it cost 3.6 points of area under the learning curve and took up to 269 % of the FLOPs",
}
"""Why dal removed an option or a value: benchmarks/results/compute_saving_*_2026-11-25."""


_MOST_BYTES, _MOST_VALUES, _MOST_DEPTH = 2**24, 1_000_000, 50


def dump_config(config: Config) -> str:
    """Return the configuration as YAML, in its order."""
    return yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)


def load_config(path: Path) -> dict[str, Any]:
    """Return the configuration of a run, to build or resume it.

    Raises DalError if there is none, or if the run uses a removed option.
    """
    config = read_config(path)
    found = dict(flatten(config))
    for key, off in REMOVED.items():
        if key in found:
            raise _no_longer(path, key, repr(off), found[key])
    if found.get("training.warm_start") == "auto":
        raise _no_longer(path, "training.warm_start", "scratch, continue or shrink_perturb", "auto")
    return config


def _no_longer(path: Path, key: str, expected: str, got: object) -> DalError:
    return DalError(
        f"{key}: expected {expected}, because dal no longer has this option, got {got!r} in {str(path.parent)!r}. Use "
        "the dal version that created the run."
    )


def read_config(path: Path) -> dict[str, Any]:
    """Return the configuration of a run, for reports.

    Renamed keys have their current names. Removed options are dropped if they are disabled and kept if they are
    enabled. Raises DalError if the configuration is missing or damaged.
    """
    folder, name = path.parent, path.name
    if not os.path.lexists(path):
        raise DalError(f"run: expected a run folder, got {str(folder)!r}, which has no {name}.")
    data = read_bytes(folder, name, most=_MOST_BYTES)
    return parsed(folder, name, lambda: _current(_loaded(data)))


def _loaded(data: bytes) -> dict[str, Any]:
    """Parse YAML. Raises ValueError unless it is a table of plain values."""
    try:
        config = yaml.safe_load(data.decode())
    except yaml.YAMLError as error:
        raise ValueError("expected YAML") from error
    if not isinstance(config, dict):
        raise ValueError("expected a table")
    _count(config, 0, 0)
    return config


def _count(value: Any, count: int, depth: int) -> int:
    """Count values.

    Raises ValueError for too many values, which a short text can produce with YAML references.
    """
    if count > _MOST_VALUES or depth > _MOST_DEPTH:
        raise ValueError("expected fewer values")
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple | set) else ()
    if isinstance(value, dict) and not all(isinstance(key, str) for key in value):
        raise ValueError("expected names as keys")
    for one in inner:
        count = _count(one, count + 1, depth + 1)
    return count


def _current(config: dict[str, Any]) -> dict[str, Any]:
    """Rename renamed keys and remove disabled removed options, in place."""
    for old, new in RENAMED.items():
        if _find(config, old) is not _NOTHING:
            *parents, last = new.split(".")
            value, section = _take(config, old), config
            for parent in parents:
                section = section.setdefault(parent, {})
            section[last] = value
    for key, off in REMOVED.items():
        if _find(config, key) == off:
            _take(config, key)
    return config


_NOTHING = object()


def _find(config: Any, key: str) -> Any:
    """Return the value of a dotted key, or _NOTHING."""
    for part in key.split("."):
        if not isinstance(config, Mapping) or part not in config:
            return _NOTHING
        config = config[part]
    return config


def _take(config: dict[str, Any], key: str) -> Any:
    """Remove a dotted key and emptied sections, and return its value."""
    first, _, rest = key.partition(".")
    if not rest:
        return config.pop(first)
    value = _take(config[first], rest)
    if not config[first]:
        del config[first]
    return value


def current_key(key: str) -> str:
    """Return the current name of a dotted key.

    >>> current_key("training.batch_size")
    'training.batch_size'
    """
    for old, new in RENAMED.items():
        if key == old or key.startswith(f"{old}."):
            key = new + key.removeprefix(old)
    return key


def current_keys(keys: Iterable[str]) -> list[str]:
    """Return the current names of dotted keys, warning about old names."""
    found = []
    for old in keys:
        new = current_key(old)
        if new != old:
            warnings.warn(f"{old} is now called {new}. Use the new name.", stacklevel=2)
        found.append(new)
    return found


def flatten(config: Config, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield dotted keys and their values.

    >>> list(flatten({"a": {"b": 1}, "c": 2}))
    [('a.b', 1), ('c', 2)]
    """
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def without_effect(config: Config) -> set[str]:
    """Return the dotted keys that cannot change a result.

    These are the FREE keys, and prices if no rule uses them. ``config`` has dotted keys.

    >>> "prices.label" in without_effect({"prices.label": 0.1}), "seed" in without_effect({"seed": 1})
    (True, False)
    """
    priced = config.get("campaign.cost_optimum")
    return FREE | {key for key in config if key.startswith("prices.") and not priced}


def check_same_config(path: Path, config: Config) -> None:
    """Raise DalError with the first key that differs from the run's."""
    old, new = ADDED | dict(flatten(load_config(path))), ADDED | dict(flatten(config))
    free = without_effect(new)
    for key in [*new, *old]:
        if key not in free and old.get(key, "nothing") != new.get(key, "nothing"):
            before, now = old.get(key, "nothing"), new.get(key, "nothing")
            if key == "acquisition.digest" and {before, now}.isdisjoint({"nothing"}):
                key = f"acquisition.digest (of {new['acquisition.file']}, which has changed)"
            raise DalError(
                f"{key}: expected {before!r}, as at the start of the run in {str(path.parent)!r}, got {now!r}. Choose "
                "another run_dir, or remove the folder."
            )
