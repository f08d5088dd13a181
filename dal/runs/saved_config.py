"""A run's configuration as a nested dict: how it is written, and how two of them are compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from dal.errors import DalError

Config = Mapping[str, Any]

FREE = {
    "acquisition.file",
    "benchmark",
    "compute",
    "run_dir",
    "scoring.batch_size",
    "scoring.num_workers",
    "scoring.disk_folder",
    "training.num_workers",
}
"""Keys that cannot change a result, and so may differ when a run is resumed. A file is told by its digest."""

ADDED = {
    "data.copies": 1,
    "data.copy_noise": 0.1,
    "data.outside_classes": 0,
    "data.outside_from": None,
    "data.outside_size": None,
    "candidates.kind": "all",
    "candidates.size": 10_000,
    "candidates.num_neighbors": 100,
    "candidates.features_file": None,
    "candidates.index": "exact",
    "scoring.memory_budget": None,
    "scoring.channels_last": False,
    "scoring.compile": False,
    "scoring.features_file": None,
    "scoring.target_points": None,
    "candidates.explore": 0.2,
    "training.updates_per_label": None,
    "training.replay": None,
    "training.rewind": 0.0,
    "training.average": 0.0,
    "campaign.stop_set_size": 0,
    "campaign.kappa": None,
    "campaign.kappa_rounds": 3,
    "campaign.max_change": None,
    "campaign.max_uncertainty": None,
    "campaign.cost_optimum": False,
    "campaign.grow_below": None,
    "prices.label": None,
    "prices.gpu_hour": None,
    "prices.kwh": None,
    "prices.accuracy_point": None,
    "prices.currency": "USD",
    "model.input_size": None,
    "model.freeze_backbone": False,
    "model.ensemble_size": 1,
    "model.final_backbone": None,
    "model.final_weights": None,
}
"""Keys that the first runs' configurations do not have yet, with the values that say what those runs did."""


def dump_config(config: Config) -> str:
    """YAML, in the order of the configuration."""
    return yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)


def load_config(path: Path) -> dict[str, Any]:
    """The configuration of a run. Raises DalError where there is none."""
    if not path.exists():
        raise DalError(f"run: expected the folder of a run, got {str(path.parent)!r}, which has no {path.name}.")
    loaded: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return loaded


def flatten(config: Config, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and their values.

    >>> list(flatten({"a": {"b": 1}, "c": 2}))
    [('a.b', 1), ('c', 2)]
    """
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def without_effect(config: Config) -> set[str]:
    """Dotted keys that cannot change a result: those that are FREE, and prices where no rule goes by them.

    ``config`` has dotted keys.

    >>> "prices.label" in without_effect({"prices.label": 0.1}), "seed" in without_effect({"seed": 1})
    (True, False)
    """
    priced = config.get("campaign.cost_optimum")
    return FREE | {key for key in config if key.startswith("prices.") and not priced}


def check_same_config(path: Path, config: Config) -> None:
    """Raise DalError, naming the first key that differs, unless the run was started with this configuration."""
    old, new = ADDED | dict(flatten(load_config(path))), ADDED | dict(flatten(config))
    free = without_effect(new)
    for key in [*new, *old]:
        if key not in free and old.get(key, "nothing") != new.get(key, "nothing"):
            before, now = old.get(key, "nothing"), new.get(key, "nothing")
            if key == "acquisition.digest" and {before, now}.isdisjoint({"nothing"}):
                key = f"acquisition.digest (of {new['acquisition.file']}, which has changed)"
            raise DalError(
                f"{key}: expected {before!r}, as the run in {str(path.parent)!r} was started with, got {now!r}; choose "
                "another run_dir, or remove the folder."
            )
