"""Files of a comparison: their folder, and numbers as CSV."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from dal.analysis.axis import UNITS
from dal.analysis.comparison import Comparison
from dal.analysis.penalty import column_means
from dal.analysis.statistics.curves import mean_and_interval
from dal.errors import bad_value
from dal.reports.overview import common_folder
from dal.runs.files.committed import is_folder
from dal.runs.reader import is_run

FOLDER = "compare"


def output_folder(runs: Sequence[Path], output: str | Path | None) -> Path:
    """Return the output folder.

    The default is compare/ in the folder that contains all runs. Raises DalError if it is a file, a run folder, or
    inside a run folder.
    """
    folder = Path(output) if output is not None else common_folder(runs) / FOLDER
    if os.path.lexists(folder) and not is_folder(folder):
        raise bad_value("output", "a folder", str(folder))
    if any(is_run(parent) for parent in [folder.absolute(), *folder.absolute().parents]):
        raise bad_value("output", "a folder outside of runs", str(folder))
    return folder


def csv_tables(comparison: Comparison) -> dict[str, pd.DataFrame]:
    """Return the tables of all numbers by file name.

    Undefined numbers are empty fields, and "never" is inf.
    """
    tables = {
        "functions.csv": comparison.functions,
        "targets.csv": comparison.targets,
        "pairs.csv": comparison.pairs,
        "penalty.csv": _penalty(comparison.penalty),
        "curves.csv": _curves(comparison),
    }
    if comparison.ranks is not None:
        tables["ranks.csv"] = _ranks(comparison)
    axis = comparison.problems[0].axis
    if axis == UNITS:
        return tables
    return {name: table.rename(columns=lambda column: _of_axis(column, axis)) for name, table in tables.items()}


def _of_axis(column: object, axis: str) -> object:
    """Return the name of a column for another axis, such as ``last_clicks`` for ``last_labels``."""
    return str(column).replace("labels", axis) if column in _OF_LABELS else column


_OF_LABELS = ("labels", "labels_low", "labels_high", "first_labels", "last_labels")


def _penalty(table: pd.DataFrame) -> pd.DataFrame:
    whole = pd.concat([table, column_means(table).to_frame("mean of the column").T])
    whole.insert(0, "beats", whole.index)
    return whole.reset_index(drop=True)


def _ranks(comparison: Comparison) -> pd.DataFrame:
    ranks = comparison.ranks
    assert ranks is not None
    table = pd.DataFrame({"function": comparison.ranked, "mean_rank": ranks.mean})
    for problem, row in zip(comparison.problems, ranks.ranks, strict=True):
        table[f"rank on {problem.name}"] = row
    for name, values in (
        ("friedman_statistic", ranks.statistic),
        ("friedman_p_value", ranks.p_value),
        ("critical_difference", ranks.critical_difference),
    ):
        table[name] = values
    for name, column in zip(comparison.ranked, ranks.nemenyi.T, strict=True):
        table[f"p_nemenyi against {name}"] = column
    return table


def _curves(comparison: Comparison) -> pd.DataFrame:
    """Return one row per problem, function and label count.

    ``measured`` is False for interpolated points.
    """
    parts = []
    for problem in comparison.problems:
        for function in problem.functions:
            mean, half_width = mean_and_interval(function.accuracy)
            columns: dict[str, object] = {"problem": problem.name, "function": function.name}
            columns |= {"labels": problem.labels, "measured": problem.measured}
            columns |= {problem.metric: mean, f"{problem.metric}_interval": half_width}
            columns |= {f"seed_{seed}": row for seed, row in zip(problem.seeds, function.accuracy, strict=True)}
            parts.append(pd.DataFrame(columns, index=np.arange(len(problem.labels))))
    return pd.concat(parts, ignore_index=True)
