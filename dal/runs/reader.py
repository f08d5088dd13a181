"""Reading run folders: the configuration and the committed rounds, without PyTorch."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dal.errors import DalError, bad_value
from dal.runs.journal import committed_rounds, read_final_model, read_state
from dal.runs.layout import CONFIG, DATA, DONE, STATE
from dal.runs.round import PRIMARY_METRIC, Round, on_test
from dal.runs.saved_config import read_config


class NoRoundsError(DalError):
    """A run that has not finished its first round."""


@dataclass(frozen=True, eq=False)
class Run:
    """The content of a run folder. ``rows`` are its R finished rounds, at least one."""

    path: Path
    config: dict[str, Any]
    rows: tuple[Round, ...]
    fingerprint: str  # of the data, as ImageSplits.fingerprint() returns it
    finished: bool  # False if the run is interrupted or still running
    primary_metric: str = PRIMARY_METRIC  # the metric that rules and reports follow

    @property
    def seed(self) -> int:
        return int(self.config["seed"])

    @property
    def data(self) -> str:
        """The name of the data set."""
        return str(self.config["data"]["name"])

    @property
    def label(self) -> str:
        """The name of the acquisition function, such as ``margin``."""
        return str(self.config["acquisition"]["name"])

    @cached_property
    def rounds(self) -> pd.DataFrame:
        """The rows as a table, with the keys of the journal as columns."""
        return pd.DataFrame(list(self.rows))

    @property
    def labels_bought(self) -> NDArray[np.int64]:
        """(R,) training and validation labels."""
        return np.array([row.labels_bought for row in self.rows], dtype=np.int64)

    @property
    def curve(self) -> NDArray[np.float64]:
        """(R,) the primary metric on the test set; NaN if a row has none."""
        values = [row.get(on_test(self.primary_metric)) for row in self.rows]
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)

    @property
    def final_model(self) -> Round | None:
        """The row of the final model; None if there is none yet. The campaign trains its proxy."""
        return read_final_model(self.path)

    @property
    def stopped(self) -> str | None:
        """Why the campaign ended, such as ``budget``; None if it has not ended."""
        return self.rows[-1].campaign_stopped


def is_run(path: Path) -> bool:
    """Whether this is a run folder, finished or not."""
    return (path / STATE).is_file() and (path / CONFIG).is_file()


def read_run(path: str | Path) -> Run:
    """Read the run in a folder, up to its last commit.

    An incomplete line that a crash left is ignored. Raises DalError if ``path`` is not a folder, not a run, or
    damaged, and NoRoundsError for a run without a finished round.

    >>> read_run("nowhere")
    Traceback (most recent call last):
    dal.errors.DalError: run: expected a folder, got 'nowhere'.
    """
    path = Path(path)
    if not path.is_dir():
        raise bad_value("run", "a folder", str(path))
    if not is_run(path):
        missing = next(name for name in (STATE, CONFIG) if not (path / name).is_file())
        raise DalError(f"run: expected a run folder, got {str(path)!r}, which has no {missing}.")
    config = read_config(path / CONFIG)
    _check_config(path, config)
    state = read_state(path)
    rows = committed_rounds(path, state["bytes"])
    if not rows:
        raise NoRoundsError(f"run: {str(path)!r} has no finished round yet. Wait for it, or resume it with dal run.")
    return Run(path, config, tuple(rows), str(state["data"]), state["stage"] == DONE, _primary_metric(path))


def find_runs(paths: Iterable[str | Path]) -> list[Path]:
    """Return the sorted run folders at or below ``paths``, without duplicates.

    Raises DalError for a path that is not a folder or contains no run.
    """
    found: dict[Path, Path] = {}
    for path in map(Path, paths):
        if not path.is_dir():
            raise bad_value("runs", "a run folder or a folder that contains runs", str(path))
        below = _runs_below(path)
        if not below:
            raise DalError(f"runs: expected at least one run in {str(path)!r}, got none.")
        found |= {run.resolve(): run for run in below}
    return sorted(found.values())


def _runs_below(top: Path) -> list[Path]:
    runs = []
    for name, subfolders, _ in os.walk(top):
        if is_run(Path(name)):
            runs.append(Path(name))
            subfolders.clear()  # folders inside a run are part of it
    return runs


def _primary_metric(path: Path) -> str:
    file = path / DATA
    if not file.is_file():
        return PRIMARY_METRIC
    try:
        return str(json.loads(file.read_text(encoding="utf-8")).get("primary_metric", PRIMARY_METRIC))
    except (ValueError, AttributeError):
        raise DalError(f"run: {DATA} in {str(path)!r} is damaged. Resume the run to write it anew.") from None


def _check_config(path: Path, config: Any) -> None:
    for keys in (("seed",), ("data", "name"), ("acquisition", "name")):
        value = config
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        if value is None:
            raise DalError(f"run: expected {'.'.join(keys)} in the {CONFIG} of {str(path)!r}, got none.")
