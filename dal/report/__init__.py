"""Reports on run folders: a table in the terminal, summary.csv and learning_curve.png."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from dal.analysis import NoRoundsError, Run, find_runs, read_run, summarize_runs
from dal.errors import bad_value
from dal.report.learning_curve import learning_curve_figure, plot_learning_curves
from dal.report.table import summary_table, write_csv

__all__ = ["learning_curve_figure", "plot_learning_curves", "report", "summary_table", "write_csv"]


def report(paths: Sequence[str | Path], output: str | Path | None = None, console: Console | None = None) -> list[Path]:
    """Compare runs: print the summary, and write learning_curve.png and summary.csv. Returns the paths written.

    ``paths`` are run folders, or folders that hold some at any depth; runs there without a finished round are left out,
    and that is said. ``output`` is made where it is missing; by default it is the run folder itself, or the folder that
    holds all the runs.

    Raises DalError for a path without runs, runs of which none has finished a round, and as summarize_runs does.
    """
    if console is None:
        console = Console(highlight=False)
        # Fewer columns would cut the table, and what is not a terminal has no width of its own.
        console.width = max(console.width, 110 if console.is_terminal else 140)
    runs = _read(paths, console)
    folder = Path(output) if output is not None else _common_folder([run.path for run in runs])
    if folder.exists() and not folder.is_dir():
        raise bad_value("output", "a folder", str(folder))
    summary = summarize_runs(runs)
    console.print(summary_table(summary))
    folder.mkdir(parents=True, exist_ok=True)
    picture, table = folder / "learning_curve.png", folder / "summary.csv"
    plot_learning_curves(runs, picture)
    write_csv(summary, table)
    sentence = f"The learning curve is {picture}, the numbers are in {table}."
    console.print(sentence, markup=False, highlight=False, soft_wrap=True)
    return [picture, table]


def _read(paths: Sequence[str | Path], console: Console) -> list[Run]:
    runs, problems = [], []
    for path in find_runs(paths):
        try:
            runs.append(read_run(path))
        except NoRoundsError as error:  # a run that has just begun does not stand in the way of the others
            problems.append((path, error))
    if not runs:
        raise problems[0][1]
    for path, _ in problems:
        console.print(f"Left out {path}, which has no finished round.", markup=False, highlight=False, soft_wrap=True)
    return runs


def _common_folder(paths: Sequence[Path]) -> Path:
    if len(paths) == 1:
        return paths[0]
    folder, here = Path(os.path.commonpath([path.resolve() for path in paths])), Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder
