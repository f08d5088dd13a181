"""`dal explain`: the page of a run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.text import Text

from dal.analysis.diagnosis.detectors import all_detected
from dal.analysis.diagnosis.finding import Detected
from dal.analysis.diagnosis.read import read_history
from dal.errors import bad_value
from dal.reports.comparison.terminal import say
from dal.reports.explanation.facts import Facts, facts_of
from dal.reports.explanation.headlines import Headlines, headlines
from dal.reports.explanation.page import page
from dal.reports.explanation.records import notice
from dal.reports.explanation.view import ImageOf
from dal.reports.overview import OTHER_OUTPUT
from dal.reports.spreadsheet import spreadsheet_csv
from dal.runs.files.atomic import write_text
from dal.runs.files.committed import is_folder, subfolder
from dal.runs.files.output import output_file
from dal.runs.reader import is_run, read_run
from dal.runtime.console import SafeConsole
from dal.runtime.refusals import explained
from dal.runtime.safe_text import visible

__all__ = ["FOLDER", "PAGE", "Facts", "Headlines", "ImageOf", "explain", "headlines", "output_folder", "page"]

FOLDER, PAGE = "explain", "report.html"


def explain(
    run: str | Path,
    output: str | Path | None = None,
    images: ImageOf | None = None,
    *,
    console: Console | None = None,
    no_images: str = "",
    live: bool = False,
) -> list[Path]:
    """Explain a run: print the headlines, and write a page and all tables as CSV.

    Writes report.html and one CSV file per table of a detector, and returns their paths. The function creates
    ``output``, by default ``explain`` in the run folder. ``images`` returns the pixels of a point, for thumbnails;
    without it, ``no_images`` is the sentence that says why there are none. A ``live`` page reloads itself.

    Raises DalError if ``run`` is no run folder, is damaged or has no finished round, and for an output that is a file
    or another run folder. Nothing is written in these cases.
    """
    console = console or SafeConsole()
    path = Path(run)
    read = read_run(path)
    folder = output_folder(path, output)
    history = read_history(path)
    detected = all_detected(history)
    facts = facts_of(read, no_images, notice(history, read.config, read.finished, read.primary_metric))
    texts = {
        PAGE: page(history, detected, facts, images, live=live),
        "findings.csv": spreadsheet_csv(findings_table(detected)),
        **{name: spreadsheet_csv(table) for name, table in _tables(detected).items()},
    }
    with explained("output", folder, OTHER_OUTPUT):
        folder.mkdir(parents=True, exist_ok=True)
        files = {name: output_file(folder / name) for name in texts}
        for name, text in texts.items():
            write_text(files[name], text)
    print_headlines(console, facts, headlines(detected))
    sentence = f"Page: {folder / PAGE}. Its numbers are in the same folder."
    console.print(visible(sentence), markup=False, highlight=False, soft_wrap=True)
    return [folder / name for name in texts]


def print_headlines(console: Console, facts: Facts, said: Headlines) -> None:
    """Print the verdicts."""
    console.print(Text(visible(facts.title), style="bold"))
    if facts.notice:
        say(console, facts.notice)
    for finding in said.findings:
        say(console, f"- {finding.sentence}")
    if said.verdict:
        say(console, said.verdict)
    for finding in said.notes:
        say(console, f"Also seen: {finding.sentence}", style="dim")
    unknown = [line.sentence for line in said.unknown_lines(facts.finished)]
    for sentence in filter(None, (said.more_sentence, said.quiet_sentence, *unknown)):
        say(console, sentence, style="dim")


def findings_table(detected: Sequence[Detected]) -> pd.DataFrame:
    """Return one row per finding, and one per detector without findings."""
    rows: list[tuple[object, ...]] = []
    for one in detected:
        for finding in one.findings:
            numbers = "; ".join(f"{name}={value}" for name, value in finding.numbers.items())
            rows.append((one.detector, "found", finding.round, finding.weight, finding.sentence, numbers, one.method))
        if not one.findings:
            answer = "cannot be told" if one.unknown else "nothing found"
            rows.append((one.detector, answer, None, None, one.quiet, "", one.method))
    table = pd.DataFrame(rows, columns=["detector", "answer", "round", "weight", "sentence", "numbers", "method"])
    return table.astype({"round": "Int64"})


def _tables(detected: Sequence[Detected]) -> dict[str, pd.DataFrame]:
    """Return the tables of all detectors by file name."""
    return {f"{one.detector}_{name}.csv": table for one in detected for name, table in one.tables.items()}


def output_folder(run: Path, output: str | Path | None) -> Path:
    """Return the folder of the page: by default ``explain`` in the run folder.

    Raises DalError if it is a file, the run folder itself, or inside another run folder.
    """
    if output is not None and not str(output).strip():
        raise bad_value("output", "a folder", str(output))
    folder = subfolder(run, FOLDER) if output is None else Path(output)
    if os.path.lexists(folder) and not is_folder(folder):
        raise bad_value("output", "a folder", str(folder))
    own = run.resolve()
    for parent in (folder.absolute(), *folder.absolute().parents):
        if is_run(parent) and (parent.resolve() != own or parent == folder.absolute()):
            raise bad_value("output", "a folder outside of other runs", str(folder))
    return folder
