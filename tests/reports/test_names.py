"""Names of data sets and functions appear in reports as they are, in every format."""

import html
import io
import json
import warnings

import pandas as pd
import pytest
from helpers.synthetic_runs import write_paired_run
from matplotlib.cbook import is_math_text
from rich.console import Console

from dal.reports.comparison import compare
from dal.reports.overview import bills_figure, learning_curve_figure, report
from dal.runs.reader import find_runs, read_run
from dal.runtime.safe_text import spreadsheet_cell

DATA = '$x$ [/b] <!--<script> \x1b[1m & "q"'
FUNCTION = "_=m[bold]\u202e$y"
SHOWN = (r'$x$ [/b] <!--<script> \x1b[1m & "q"', r"_=m[bold]\u202e$y")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for name in ("random", FUNCTION):
        for seed in (0, 1):
            write_paired_run(
                folder / f"{len(name)}{seed}", [0.5, 0.6 + seed / 100], data=DATA, acquisition=name, seed=seed
            )
    return folder


@pytest.fixture(scope="module")
def written(runs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports")
    # A console of the caller's, on which markup is on.
    console = Console(file=io.StringIO(), width=200)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compare([runs], folder, console)
        report([runs], folder, console)
    return folder, console.file.getvalue()


def test_a_terminal(written):
    _, printed = written
    assert SHOWN[0] in printed and "\x1b" not in printed and "\u202e" not in printed
    assert "_=m[bold]" in printed


def test_the_page(written):
    text = (written[0] / "comparison.html").read_text(encoding="utf-8")
    assert f"<h2>{html.escape(SHOWN[0])}</h2>" in text
    script = text.rpartition("const figures = ")[2].partition(";\n")[0]
    assert "<" not in script
    named = {trace["name"] for figure in json.loads(script) for trace in figure["data"] if "name" in trace}
    assert html.escape(SHOWN[1]) in named


@pytest.mark.parametrize("figure_of", [learning_curve_figure, bills_figure])
def test_the_figures_show_dollars_and_names_that_begin_with_an_underscore(runs, figure_of):
    figure = figure_of([read_run(path) for path in find_runs([runs])])
    legend = (figure.legends or [figure.axes[0].get_legend()])[0]
    drawn = [figure.axes[0].get_title(loc="left"), *(text.get_text() for text in legend.get_texts())]
    assert not any(is_math_text(text) for text in drawn)
    shown = [text.replace(r"\$", "$").strip() for text in drawn]
    assert shown[0].startswith(SHOWN[0]) and SHOWN[1] in shown and "random" in shown


def test_the_spreadsheets(written):
    for path in written[0].glob("*.csv"):
        table = pd.read_csv(path)
        for text in [*table.columns, *table.select_dtypes("object").stack()]:
            assert not str(text).startswith(("=", "+", "@")) and "\x1b" not in str(text), path


def test_latex(written):
    text = (written[0] / "tables.tex").read_text(encoding="utf-8")
    assert r"\$x\$ [/b] \(<\)!--" in text and "\x1b" not in text


@pytest.mark.parametrize("text", ["=1", "+1+1", "-2+3", "@x", "\tx", "\rx", "  =1"])
def test_a_formula_gets_an_apostrophe(text):
    assert str(spreadsheet_cell(text)).startswith("'")


@pytest.mark.parametrize("value", ["-0.5", "+3", "a=b", "", "-inf", None, -1, 0.5, "Größe"])
def test_numbers_and_other_text_stay(value):
    assert spreadsheet_cell(value) == value
