"""`dal report`: a table, pictures and a CSV file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from dal.analysis import NoRoundsError, Run, common_prices, find_runs, read_run, summarize_runs
from dal.costs.prices import PricesConfig
from dal.errors import bad_value
from dal.reports.overview.bills import bills_figure, plot_bills
from dal.reports.overview.learning_curve import learning_curve_figure, plot_learning_curves
from dal.reports.overview.sentences import target_sentences
from dal.reports.overview.table import summary_table, write_csv
from dal.runs.layout import BILLS, LEARNING_CURVE, SUMMARY
from dal.runtime.console import SafeConsole
from dal.runtime.safe_text import visible

__all__ = [
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


def report(
    paths: Sequence[str | Path],
    output: str | Path | None = None,
    console: Console | None = None,
    *,
    prices: PricesConfig | None = None,
    target: float | None = None,
) -> list[Path]:
    """Compare runs: print the summary, and write learning_curve.png, bills.png and summary.csv. Returns the paths
    written.

    ``paths`` are run folders, or folders that hold some at any depth; runs there without a finished round are left out,
    and that is said. ``output`` is made where it is missing; by default it is the run folder itself, or the folder that
    holds all the runs.

    ``prices`` hold for all runs; by default they are those in the configurations, where all runs that have prices have
    the same. ``target``, a share, is the primary metric whose labels and money are told, measured or forecast; by
    default it is the campaign's own.

    Raises DalError for a path without runs, runs of which none has finished a round, a target outside (0, 1], and as
    summarize_runs does.
    """
    if target is not None and not 0 < target <= 1:
        raise bad_value("target", "a share from 0 to 1, such as 0.95", target)
    if console is None:
        console = SafeConsole()
        # Fewer columns would cut the table, and what is not a terminal has no width of its own.
        console.width = max(console.width, 110 if console.is_terminal else 140)
    runs = read_runs(paths, console)
    folder = Path(output) if output is not None else common_folder([run.path for run in runs])
    if folder.exists() and not folder.is_dir():
        raise bad_value("output", "a folder", str(folder))
    if prices is None:
        prices = _common_prices(runs, console)
    summary = summarize_runs(runs, prices, target)
    # The files come first: a reader such as head may end the printing.
    folder.mkdir(parents=True, exist_ok=True)
    picture, bills, table = (folder / name for name in (LEARNING_CURVE, BILLS, SUMMARY))
    plot_learning_curves(runs, picture)
    plot_bills(runs, bills, prices)
    write_csv(summary, table)
    console.print(summary_table(summary))
    for sentence in target_sentences(summary):
        console.print(visible(sentence), markup=False, highlight=False, soft_wrap=True)
    sentence = f"The learning curve is {picture}, all bills are {bills}, the numbers are in {table}."
    console.print(visible(sentence), markup=False, highlight=False, soft_wrap=True)
    return [picture, bills, table]


def _common_prices(runs: Sequence[Run], console: Console) -> PricesConfig | None:
    prices = common_prices(runs)
    if prices is None and any(common_prices([run]) for run in runs):
        console.print("No money is shown, since the runs have different prices: give some by --prices.", markup=False)
    return prices


def read_runs(paths: Sequence[str | Path], console: Console) -> list[Run]:
    """The runs in the folders; one without a finished round is left out, and that is printed."""
    runs, problems = [], []
    for path in find_runs(paths):
        try:
            runs.append(read_run(path))
        except NoRoundsError as error:  # a run that has just begun does not stand in the way of the others
            problems.append((path, error))
    if not runs:
        raise problems[0][1]
    for path, _ in problems:
        sentence = f"Left out {visible(str(path))}, which has no finished round."
        console.print(sentence, markup=False, highlight=False, soft_wrap=True)
    return runs


def common_folder(paths: Sequence[Path]) -> Path:
    """The folder that holds all of these, as people would name it: relative to where they are, if it is below."""
    if len(paths) == 1:
        return paths[0]
    folder, here = Path(os.path.commonpath([path.resolve() for path in paths])), Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder
