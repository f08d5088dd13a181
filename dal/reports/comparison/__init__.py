"""`dal compare`: statistics of paired runs."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console

from dal.analysis.comparison import Comparison, compare_problems
from dal.analysis.pairing import Problem, pair_runs
from dal.reports.comparison.figure import comparison_figure
from dal.reports.comparison.files import csv_tables, output_folder
from dal.reports.comparison.latex import latex
from dal.reports.comparison.page import page
from dal.reports.comparison.tables import Table, findings, tables_of
from dal.reports.comparison.terminal import print_table, say
from dal.reports.drawing import save
from dal.reports.overview import read_runs
from dal.runs.atomic import write_text

__all__ = ["Comparison", "Problem", "Table", "compare", "compare_problems", "pair_runs", "tables_of"]

_MOST_PAIRS = 15  # of six functions; more of them are for the files


def compare(
    paths: Sequence[str | Path],
    output: str | Path | None = None,
    console: Console | None = None,
    *,
    targets: Sequence[float] = (),
    baseline: str | None = None,
    **pairing: Any,
) -> list[Path]:
    """Compare acquisition functions: print the tables, and write them as comparison.html, tables.tex and CSV files, and
    the curves as learning_curves.png and .svg. Returns the paths written.

    ``paths`` are run folders, or folders that hold some at any depth; runs there without a finished round are left out,
    and that is said. ``output`` is made where it is missing; by default it is ``compare`` in the folder that holds all
    the runs. ``targets`` and ``baseline`` are those of compare_problems; ``pairing`` are the options of pair_runs:
    ``vary``, ``across``, ``common_seeds`` and ``common_labels``.

    Raises DalError as these do, for a path without runs, and for an output inside of a run folder. Nothing is written
    then.
    """
    console = console or Console(highlight=False)
    runs = read_runs(paths, console)
    problems = pair_runs(runs, **pairing)
    folder = output_folder([run.path for run in runs], output)
    comparison = compare_problems(problems, targets=targets, baseline=baseline)
    sentences = findings(comparison)
    for table in tables_of(comparison, _MOST_PAIRS):
        print_table(console, table)
    for problem in problems:
        for note in problem.notes:
            say(console, f"{problem.name}: {note}.")
    for sentence in sentences:
        say(console, sentence)
    written = _write(folder, comparison, sentences)
    sentence = f"The page is {written[0]}; its tables, numbers and pictures are beside it."
    console.print(sentence, markup=False, highlight=False, soft_wrap=True)
    return written


def _write(folder: Path, comparison: Comparison, sentences: Sequence[str]) -> list[Path]:
    tables = tables_of(comparison)
    texts = {
        "comparison.html": page(comparison.problems, tables, sentences, version("dal")),
        "tables.tex": latex(tables),
        **{name: table.to_csv(index=False, lineterminator="\n") for name, table in csv_tables(comparison).items()},
    }
    figure = comparison_figure(comparison.problems)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        write_text(folder / name, text)
    pictures = [folder / "learning_curves.png", folder / "learning_curves.svg"]
    for picture in pictures:
        save(figure, picture)
    return [*(folder / name for name in texts), *pictures]
