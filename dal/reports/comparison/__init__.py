"""`dal compare`: statistics of paired runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from dal import __version__
from dal.analysis.axis import axes_of
from dal.analysis.comparison import Comparison, compare_problems
from dal.analysis.grouping import check_curve
from dal.analysis.pairing import Problem, pair_runs
from dal.reports.comparison.figure import comparison_figure
from dal.reports.comparison.files import csv_tables, output_folder
from dal.reports.comparison.latex import latex
from dal.reports.comparison.page import page
from dal.reports.comparison.tables import Table, findings, tables_of
from dal.reports.comparison.terminal import print_table, say
from dal.reports.drawing import save
from dal.reports.overview import OTHER_OUTPUT, read_runs
from dal.reports.spreadsheet import spreadsheet_csv
from dal.runs.files.atomic import write_text
from dal.runs.files.output import output_file
from dal.runs.reader import Run
from dal.runtime.console import SafeConsole
from dal.runtime.refusals import explained
from dal.runtime.safe_text import visible

__all__ = ["Comparison", "Problem", "Table", "compare", "compare_problems", "pair_runs", "tables_of"]

_MOST_PAIRS = 15  # of six functions; larger tables go only to the files


def compare(
    paths: Sequence[str | Path],
    output: str | Path | None = None,
    console: Console | None = None,
    *,
    targets: Sequence[float] = (),
    baseline: str | None = None,
    x: str | None = None,
    **pairing: Any,
) -> list[Path]:
    """Compare acquisition functions: print and write tables and learning curves.

    The function writes comparison.html, tables.tex, CSV files, learning_curves.png and learning_curves.svg, and returns
    their paths. ``paths`` are run folders, or folders that contain runs at any depth. Runs without a finished round are
    ignored, with a message. The function creates ``output``, by default ``compare`` in the folder that contains all
    runs. ``targets`` and ``baseline`` are those of compare_problems. ``x`` is what the functions are compared at: units
    (labels), images, pixels, clicks or seconds of labeling. By default it is the cost of the campaigns. If all runs
    record clicks, a second comparison at clicks is in the folder ``clicks`` of the output. ``pairing`` are the options
    of pair_runs: ``vary``, ``across``, ``common_seeds``, ``common_labels`` and ``presets``.

    Raises DalError as these functions do, for a path without runs, and for an output inside a run folder. Nothing is
    written in these cases.
    """
    console = console or SafeConsole()
    runs = read_runs(paths, console, check=_check)
    axes = axes_of(runs, x)
    by_axis = [pair_runs(runs, axis=axis, **pairing) for axis in axes]
    folder = output_folder([run.path for run in runs], output)
    folders = [folder, *(folder / axis for axis in axes[1:])]
    comparisons = [compare_problems(problems, targets=targets, baseline=baseline) for problems in by_axis]
    # Write the files before printing, because a reader such as head may end the printing.
    written = [_write(place, one, findings(one)) for place, one in zip(folders, comparisons, strict=True)]
    for comparison, files in zip(comparisons, written, strict=True):
        _print(console, comparison, files[0])
    return [file for files in written for file in files]


def _print(console: Console, comparison: Comparison, page: Path) -> None:
    for table in tables_of(comparison, _MOST_PAIRS):
        print_table(console, table)
    for problem in comparison.problems:
        for note in problem.notes:
            say(console, f"{problem.name}: {note}.")
    for sentence in findings(comparison):
        say(console, sentence)
    sentence = f"Page: {page}. Its tables, numbers and figures are in the same folder."
    console.print(visible(sentence), markup=False, highlight=False, soft_wrap=True)


def _check(run: Run) -> None:
    """Raise DalError for a run that cannot be compared."""
    check_curve(run)
    _ = run.points


def _write(folder: Path, comparison: Comparison, sentences: Sequence[str]) -> list[Path]:
    tables = tables_of(comparison)
    texts = {
        "comparison.html": page(comparison.problems, tables, sentences, __version__),
        "tables.tex": latex(tables),
        **{name: spreadsheet_csv(table) for name, table in csv_tables(comparison).items()},
    }
    figure = comparison_figure(comparison.problems)
    pictures = [folder / "learning_curves.png", folder / "learning_curves.svg"]
    with explained("output", folder, OTHER_OUTPUT):
        folder.mkdir(parents=True, exist_ok=True)
        files = {name: output_file(folder / name) for name in (*texts, *(picture.name for picture in pictures))}
        for name, text in texts.items():
            write_text(files[name], text)
        for picture in pictures:
            save(figure, picture)
    return [*(folder / name for name in texts), *pictures]
