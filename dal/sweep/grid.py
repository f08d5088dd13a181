"""The cells of a grid: all combinations of the swept values."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override

from dal.config.overrides import (
    check_overrides,
    compose_all,
    parse,
    quoted,
    under_current_keys,
)
from dal.config.values.sweeps import MOST_VALUES, sweep_values
from dal.errors import DalError


@dataclass(frozen=True, eq=False)
class Cell:
    """One campaign of a grid."""

    overrides: tuple[str, ...]
    """The command line of this cell. For a function in a file of the user, it includes the current digest of the file,
    which may change later."""
    swept: tuple[tuple[str, str], ...]
    """The keys that the grid sweeps over, and the values of this cell."""
    config: dict[str, Any]

    @property
    def run_dir(self) -> Path:
        return Path(self.config["run_dir"])

    @property
    def seed(self) -> int:
        return int(self.config["seed"])

    @property
    def row(self) -> str:
        """The name without the seed, such as ``bald, num_draws=20``."""
        parts = [f"{key.rpartition('.')[2]}={value}" for key, value in self.swept if key not in ("seed", "acquisition")]
        return ", ".join([self.config["acquisition"]["name"], *parts])

    @property
    def name(self) -> str:
        """The full name, such as ``bald, num_draws=20, seed 3``."""
        return f"{self.row}, seed {self.seed}"


def expand(overrides: Sequence[str]) -> list[Cell]:
    """Return the cells of a grid. The last key changes fastest.

    Raises DalError for a wrong override, or if two cells have the same run_dir.

    >>> [cell.name for cell in expand(["acquisition=random,bald", "seed=range(2)"])]
    ['random, seed 0', 'random, seed 1', 'bald, seed 0', 'bald, seed 1']
    """
    texts = under_current_keys(quoted(list(overrides)))
    check_overrides(texts)
    parsed = parse(texts)
    swept = [override for override in parsed if override.is_sweep_override()]
    for override in swept:
        if not override.is_discrete_sweep():
            raise DalError(f"{override.key_or_group}: expected a list of values, got {override.input_line}.")
    if math.prod(len(_values(o, t)) for o, t in zip(parsed, texts, strict=True)) > MOST_VALUES:
        raise DalError(f"overrides: expected a grid of at most {MOST_VALUES} runs, got more; split it.")
    grid = [tuple(chosen) for chosen in itertools.product(*(_values(o, t) for o, t in zip(parsed, texts, strict=True)))]
    cells = []
    for chosen, config in zip(grid, compose_all(grid), strict=True):
        named = zip(parsed, chosen, strict=True)
        values = tuple((str(o.key_or_group), text.partition("=")[2]) for o, text in named if o in swept)
        digest = config["acquisition"].get("digest")
        cells.append(Cell((*chosen, f"acquisition.digest='{digest}'") if digest else chosen, values, config))
    _check_folders(cells)
    return cells


def common_folder(cells: Sequence[Cell]) -> Path:
    """Return the folder that contains the runs of all cells."""
    folder = Path(os.path.commonpath([cell.run_dir.resolve().parent for cell in cells]))
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder


def _values(override: Override, text: str) -> list[str]:
    if not override.is_sweep_override():
        return [text]
    return [f"{override.get_key_element()}={value}" for value in sweep_values(override)]


def _check_folders(cells: Sequence[Cell]) -> None:
    seen: dict[Path, Cell] = {}
    for cell in cells:
        other = seen.setdefault(cell.run_dir.resolve(), cell)
        if other is not cell:
            keys = [key for (key, a), (_, b) in zip(cell.swept, other.swept, strict=True) if a != b]
            parts = [f"{key.rpartition('.')[2]}=${{{key}}}" for key in keys if key not in ("seed", "acquisition")]
            folder = f"{','.join(parts)}/" if parts else ""
            advice = f"'run_dir=runs/${{data.name}}/${{acquisition.name}}/{folder}seed${{seed}}'"
            raise DalError(
                f"run_dir: expected a separate folder for each run, got {str(cell.run_dir)!r} for {other.name} and "
                f"for {cell.name}. Include the swept keys, such as {advice}."
            )
