"""`dal report`: a table, pictures and a CSV file."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console

from dal.analysis import NoRoundsError, Run, common_prices, find_runs, read_run, summarize_runs
from dal.analysis.axis import axis_of
from dal.costs.prices import PricesConfig
from dal.errors import DalError, bad_value
from dal.reports.overview.bills import bills_figure, plot_bills
from dal.reports.overview.learning_curve import learning_curve_figure, plot_learning_curves
from dal.reports.overview.people import hours_sentence, print_people
from dal.reports.overview.sentences import target_sentences, unknown_sentences
from dal.reports.overview.table import summary_table, write_csv
from dal.runs.files.committed import is_folder
from dal.runs.files.output import output_file
from dal.runs.layout import BILLS, LEARNING_CURVE, SUMMARY
from dal.runtime.console import SafeConsole
from dal.runtime.refusals import explained
from dal.runtime.safe_text import visible

__all__ = [
    "OTHER_OUTPUT",
    "bills_figure",
    "common_folder",
    "learning_curve_figure",
    "plot_bills",
    "plot_learning_curves",
    "read_runs",
    "report",
    "summary_table",
    "target_sentences",
    "write_csv",
]


OTHER_OUTPUT = "Choose another folder with --output."


def report(
    paths: Sequence[str | Path],
    output: str | Path | None = None,
    console: Console | None = None,
    *,
    prices: PricesConfig | None = None,
    target: float | None = None,
    x: str | None = None,
) -> list[Path]:
    """Print a summary of runs, and write learning_curve.png, bills.png and summary.csv.

    For a run that people label, it also prints numbers on their answers. Without any test set, the accuracy is not
    known, and only summary.csv is written. Returns the paths written. ``paths`` are run folders, or folders that
    contain runs at any depth. Runs without a finished round are ignored, with a message. The function creates
    ``output``, by default the run folder itself or the folder that contains all runs.

    ``prices`` apply to all runs, and default to those of the configurations if these agree. ``target``, from 0 to 1, is
    the value of the primary metric for which labels and money are measured or forecast; it defaults to the campaign's.
    ``x`` is the axis of the curves and the column of the table: units (labels), images, pixels, clicks or seconds of
    labeling. It defaults to the cost of the campaigns. Clicks are shown next to it if all runs record them.

    Raises DalError for a path without runs, if no run has finished a round, for a target outside (0, 1], and as
    summarize_runs does.
    """
    if target is not None and not 0 < target <= 1:
        raise bad_value("target", "a share from 0 to 1, such as 0.95", target)
    if console is None:
        console = SafeConsole()
        # Fewer columns would cut the table. Files and pipes have no width.
        console.width = max(console.width, 110 if console.is_terminal else 140)
    runs = read_runs(paths, console)
    folder = Path(output) if output is not None else common_folder([run.path for run in runs])
    if os.path.lexists(folder) and not is_folder(folder):
        raise bad_value("output", "a folder", str(folder))
    if prices is None:
        prices = _common_prices(runs, console)
    axis = axis_of(runs, x)
    summary = summarize_runs(runs, prices, target, untested=True, axis=axis)
    # Write the files before printing, because a reader such as head may end the printing.
    written = _write(folder, runs, summary, prices, axis)
    console.print(summary_table(summary))
    for part in print_people(runs, prices):
        console.print(visible(part) if isinstance(part, str) else part, markup=False, highlight=False, soft_wrap=True)
    sentences = [*unknown_sentences(runs, axis), *target_sentences(summary), hours_sentence(runs, prices)]
    files = " ".join(f"{name}: {path}." for name, path in written.items())
    for sentence in (*filter(None, sentences), files):
        console.print(visible(sentence), markup=False, highlight=False, soft_wrap=True)
    return [*written.values()]


def _write(
    folder: Path, runs: Sequence[Run], summary: pd.DataFrame, prices: PricesConfig | None, axis: str
) -> dict[str, Path]:
    """Write the files, and return their paths by the names that a sentence gives them."""
    tested = any(not np.isnan(run.curve).all() for run in runs)
    pictures = {"Learning curve": folder / LEARNING_CURVE, "Bills": folder / BILLS} if tested else {}
    files = {**pictures, "Numbers": folder / SUMMARY}
    for file in files.values():
        output_file(file)  # before any of them is written
    with explained("output", folder, OTHER_OUTPUT):
        folder.mkdir(parents=True, exist_ok=True)
        if tested:
            plot_learning_curves(runs, files["Learning curve"], axis)
            plot_bills(runs, files["Bills"], prices, axis)
        write_csv(summary, files["Numbers"])
    return files


def _common_prices(runs: Sequence[Run], console: Console) -> PricesConfig | None:
    prices = common_prices(runs)
    if prices is None and any(common_prices([run]) for run in runs):
        console.print(
            "Money is not shown, because the runs have different prices. Set them with --prices.", markup=False
        )
    return prices


def read_runs(
    paths: Sequence[str | Path], console: Console, check: Callable[[Run], object] = lambda run: None
) -> list[Run]:
    """Read the runs in the folders.

    A run without a finished round is ignored, with a message. So is a damaged run, or one that ``check`` refuses, with
    a message on standard error. Raises the first error if no run is left.
    """
    runs: list[Run] = []
    problems: list[tuple[Path, DalError]] = []
    for path in find_runs(paths):
        try:
            run = read_run(path)
            check(run)
        except DalError as error:  # one bad folder must not prevent the report of the others
            problems.append((path, error))
        else:
            runs.append(run)
    if not runs:
        raise problems[0][1]
    for path, problem in problems:
        if isinstance(problem, NoRoundsError):
            sentence = f"Ignored {visible(str(path))}, which has no finished round."
            console.print(sentence, markup=False, highlight=False, soft_wrap=True)
        else:
            print(visible(f"Ignored {str(path)!r}: {problem}"), file=sys.stderr)
    return runs


def common_folder(paths: Sequence[Path]) -> Path:
    """Return the folder that contains all paths.

    It is a relative path if it is below the current folder.
    """
    if len(paths) == 1:
        return paths[0]
    folder, here = Path(os.path.commonpath([path.resolve() for path in paths])), Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder
