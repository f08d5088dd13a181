"""Reads the configuration and committed rounds of run folders, without PyTorch."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dal.costs.prices import PricesConfig
from dal.errors import DalError, bad_value
from dal.runs.files.committed import check_file, check_if_committed, damaged, is_file, is_folder, parsed, read_bytes
from dal.runs.files.state import is_count, is_number, read_state
from dal.runs.final_model import read_final_model
from dal.runs.journal import Labeled, committed_rounds, read_selections, read_validation
from dal.runs.layout import CONFIG, DATA, DONE, ROUNDS, STATE
from dal.runs.round import PRIMARY_METRIC, Round, on_test
from dal.runs.saved_config import read_config
from dal.runs.settings import with_settings


class NoRoundsError(DalError):
    """A run that has not finished its first round."""


@dataclass(frozen=True, eq=False)
class Run:
    """The content of a run folder.

    ``rows`` are its R finished rounds, at least one.
    """

    path: Path
    config: dict[str, Any]
    rows: tuple[Round, ...]
    fingerprint: str  # of the data, as ImageSplits.fingerprint() returns it
    finished: bool  # False if the run is interrupted or still running
    primary_metric: str = PRIMARY_METRIC  # the metric that rules and reports follow
    final_model: Round | None = None  # the row of the final model, if there is one; the campaign trains its proxy
    data_name: str | None = None  # in data.json, such as the folder of the images; None in runs without it

    @property
    def seed(self) -> int:
        return int(self.config["seed"])

    @property
    def data(self) -> str:
        """The name of the data set: a folder of images has its own name, and not that of its kind."""
        return self.data_name or str(self.config["data"]["name"])

    @property
    def label(self) -> str:
        """The name of the acquisition function, such as ``margin``."""
        return str(self.config["acquisition"]["name"])

    @cached_property
    def rounds(self) -> pd.DataFrame:
        """The rows as a table, with journal keys as columns."""
        return pd.DataFrame(list(self.rows))

    @property
    def labels_bought(self) -> NDArray[np.int64]:
        """(R,) training and validation labels."""
        return np.array([row.labels_bought for row in self.rows], dtype=np.int64)

    @property
    def curve(self) -> NDArray[np.float64]:
        """(R,) primary metric on the test set; NaN without one."""
        values = [row.get(on_test(self.primary_metric)) for row in self.rows]
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)

    @cached_property
    def points(self) -> tuple[list[Labeled], list[Labeled]]:
        """The labeled training points and the validation points.

        Raises DalError for a damaged file.
        """
        state = read_state(self.path)
        return read_selections(self.path, state), read_validation(self.path, state)

    @property
    def stopped(self) -> str | None:
        """Why the campaign ended, such as ``budget``, or None."""
        return self.rows[-1].campaign_stopped


def is_run(path: Path) -> bool:
    """Return whether this is a run folder, finished or not."""
    return is_file(path / STATE) and is_file(path / CONFIG)


def read_run(path: str | Path) -> Run:
    """Read the run in a folder, up to its last commit.

    An incomplete line that a crash left is ignored. Raises DalError if ``path`` is not a folder, not a run, or
    damaged, and NoRoundsError for a run without a finished round.

    >>> read_run("nowhere")
    Traceback (most recent call last):
    dal.errors.DalError: run: expected a folder, got 'nowhere'.
    """
    path = Path(path)
    if not is_folder(path):
        raise bad_value("run", "a folder", str(path))
    state = read_state(path)
    if not state["rounds"]:
        raise NoRoundsError(f"run: {str(path)!r} has no finished round yet. Wait for it, or resume it with dal run.")
    config = with_settings(read_config(path / CONFIG), state.get("settings", {}), path)
    check_file(path, CONFIG, state)
    check_if_committed(path, DATA, state)
    _check_config(path, config)
    rows = tuple(committed_rounds(path, state))
    facts = _data_facts(path)
    final = read_final_model(path)
    metric = str(state.get("primary_metric") or facts.get("primary_metric", PRIMARY_METRIC))
    _check_rows(path, metric, rows, final)
    name = facts.get("name")
    name = name if isinstance(name, str) and name else None
    return Run(path, config, rows, state["data"], state["stage"] == DONE, metric, final, name)


def find_runs(paths: Iterable[str | Path]) -> list[Path]:
    """Return the sorted run folders at or below ``paths``, without duplicates.

    Raises DalError for a path that is not a folder or contains no run.
    """
    found: dict[Path, Path] = {}
    for path in map(Path, paths):
        if not is_folder(path):
            raise bad_value("runs", "a run folder or a folder that contains runs", str(path))
        below = _runs_below(path)
        if not below:
            raise DalError(f"runs: expected at least one run in {str(path)!r}, got none.")
        found |= {run.resolve(): run for run in below}
    return sorted(found.values())


def _runs_below(top: Path) -> list[Path]:
    runs = []
    for name, subfolders, files in os.walk(top, onerror=_warn_of):
        # A folder with a journal but no state.json is a damaged run. Include it, so that readers report it.
        if {STATE, ROUNDS}.intersection(files) or STATE in subfolders:
            runs.append(Path(name))
            subfolders.clear()  # folders inside a run are part of it
    return runs


def _warn_of(error: OSError) -> None:
    warnings.warn(f"Ignored {error.filename!r}, which cannot be read ({error.strerror}).", stacklevel=2)


def _data_facts(path: Path) -> dict[str, Any]:
    """Return what data.json says of the data, which is nothing in runs of old versions."""
    if not is_file(path / DATA):
        return {}
    try:
        return dict(json.loads(read_bytes(path, DATA)).items())
    except (DalError, ValueError, AttributeError, RecursionError):
        raise DalError(f"run: {DATA} in {str(path)!r} is damaged. Resume the run to write it again.") from None


def _check_config(path: Path, config: dict[str, Any]) -> None:
    """Raise DalError unless the configuration has the keys that reports read."""
    for keys in (("seed",), ("data", "name"), ("acquisition", "name")):
        value: Any = config
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        if value is None:
            raise DalError(f"run: expected {'.'.join(keys)} in {CONFIG} of {str(path)!r}, got none.")
        if not (is_count(value) if keys == ("seed",) else isinstance(value, str)):
            raise damaged(path, CONFIG, f"{'.'.join(keys)}: unexpected {type(value).__name__}")
    parsed(path, CONFIG, lambda: _check_sections(config))


def _check_sections(config: dict[str, Any]) -> None:
    campaign, prices = (config.get(name) or {} for name in ("campaign", "prices"))
    target = campaign.get("target")
    if not (target is None or is_number(target)):
        raise ValueError("expected a number as campaign.target")
    PricesConfig(**prices)
    if not isinstance(prices.get("currency", ""), str):
        raise ValueError("expected a text as prices.currency")


def _check_rows(path: Path, metric: str, rows: tuple[Round, ...], final: Round | None) -> None:
    """Raise DalError unless the rows have the values that reports read."""
    for row in rows:
        if not row.keys() >= {"labels_bought", "updates"}:
            raise damaged(path, ROUNDS, "a round lacks labels_bought or updates")
    for row in rows if final is None else (*rows, final):
        reached = row.get(on_test(metric))
        if not (reached is None or is_number(reached)):
            raise damaged(path, ROUNDS, f"{on_test(metric)} is not a number")
