"""Reading run folders: the configuration and the committed rounds, without PyTorch."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from dal.errors import DalError, bad_value
from dal.runs.saved_config import read_config

# The names that dal.runs.folder writes; importing them from there would load PyTorch.
ROUNDS, STATE, CONFIG = "rounds.jsonl", "state.json", "config.yaml"
TARGET = "target.json"  # as dal.training.final_model writes


class NoRoundsError(DalError):
    """A run that has not finished its first round."""


@dataclass(frozen=True, eq=False)
class Run:
    """What a run folder holds. ``rounds`` has a line a finished round, with the keys of the journal as columns."""

    path: Path
    config: dict[str, Any]
    rounds: pd.DataFrame
    fingerprint: str  # of the ids and classes of the data
    finished: bool  # False where the run was cut off, or is still going on

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

    @property
    def target(self) -> dict[str, Any] | None:
        """The row of the network that the campaign's was a proxy for; None where there is none, or not yet."""
        file = self.path / TARGET
        row: dict[str, Any] | None = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
        return row

    @property
    def stopped(self) -> str | None:
        """Why the campaign ended, such as ``budget``; None where it has not."""
        reason = self.rounds["campaign_stopped"].iloc[-1]
        return reason if isinstance(reason, str) else None


def is_run(path: Path) -> bool:
    """Whether this is the folder of a run, finished or not."""
    return (path / STATE).is_file() and (path / CONFIG).is_file()


def read_run(path: str | Path) -> Run:
    """The run in a folder, up to its last commit: a line that a crash left half written is not read.

    Raises DalError for what is not a folder, not a run, or damaged, and NoRoundsError for a run without a finished
    round.

    >>> read_run("nowhere")
    Traceback (most recent call last):
    dal.errors.DalError: run: expected a folder, got 'nowhere'.
    """
    path = Path(path)
    if not path.is_dir():
        raise bad_value("run", "a folder", str(path))
    if not is_run(path):
        missing = next(name for name in (STATE, CONFIG) if not (path / name).is_file())
        raise DalError(f"run: expected the folder of a run, got {str(path)!r}, which has no {missing}.")
    config = read_config(path / CONFIG)
    _check_config(path, config)
    try:
        state = json.loads((path / STATE).read_text(encoding="utf-8"))
        size, fingerprint, stage = state["bytes"].get(ROUNDS, 0), str(state["data"]), state["stage"]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DalError(f"run: expected the {STATE} of a run in {str(path)!r}, got something else.") from None
    if not size:
        raise NoRoundsError(f"run: expected at least one finished round in {str(path)!r}, got none.")
    rows = [json.loads(line) for line in _committed(path, size).splitlines()]
    return Run(path, config, pd.DataFrame(rows), fingerprint, finished=stage == "done")


def find_runs(paths: Iterable[str | Path]) -> list[Path]:
    """The run folders among ``paths`` and, at any depth, below them: sorted, each one once.

    Raises DalError for a path that is not a folder, and for one with no run in it.
    """
    found: dict[Path, Path] = {}
    for path in map(Path, paths):
        if not path.is_dir():
            raise bad_value("runs", "a run folder or a folder with runs in it", str(path))
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
            subfolders.clear()  # what is inside a run belongs to it
    return runs


def _committed(path: Path, size: int) -> str:
    if not (path / ROUNDS).is_file():
        raise DalError(f"run: expected {size} bytes of {ROUNDS} in {str(path)!r}, got no such file.")
    with (path / ROUNDS).open("rb") as file:
        data = file.read(size)
    if len(data) < size:
        raise DalError(f"run: expected {size} bytes of {ROUNDS} in {str(path)!r}, got {len(data)}.")
    return data.decode()


def _check_config(path: Path, config: Any) -> None:
    for keys in (("seed",), ("data", "name"), ("acquisition", "name")):
        value = config
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        if value is None:
            raise DalError(f"run: expected {'.'.join(keys)} in the {CONFIG} of {str(path)!r}, got none.")
