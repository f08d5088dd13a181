"""`dal report` and `dal compare` on costs."""

import io

import pandas as pd
import pytest
from rich.console import Console

from dal.errors import DalError
from dal.reports.comparison import compare
from dal.reports.overview import bills_figure, learning_curve_figure, read_runs, report


def costs(scale):
    return lambda i: {
        "cost_units": 10 * (i + 1), "cost_images": i + 1, "cost_pixels": 640 * (i + 1),
        "cost_clicks": scale * (i + 1), "cost_seconds": 2 * scale * (i + 1),
    }  # fmt: skip


@pytest.fixture
def runs(synthetic, tmp_path):
    for seed in range(2):
        synthetic.write_paired_run(tmp_path / f"m{seed}", [0.5, 0.6, 0.8], extra=costs(20 + seed), seed=seed)
        synthetic.write_paired_run(
            tmp_path / f"r{seed}", [0.5, 0.6, 0.7], extra=costs(15 + seed), seed=seed, acquisition="random"
        )
    return tmp_path


def printed(command, runs, output, **options):
    console = Console(width=140, record=True, file=io.StringIO())
    files = command([runs], output, console, **options)
    return console.export_text(), files


def test_a_report_shows_the_bought_unit_and_clicks(runs, tmp_path):
    text, _ = printed(report, runs, tmp_path / "out")
    assert "labels" in text and "clicks" in text
    line = next(words for words in map(str.split, text.splitlines()) if words[:1] == ["margin"])
    assert line[1:4] == ["2", "30", "62"]
    figure = bills_figure(read_runs([runs], Console(quiet=True)))
    assert [axes.get_xlabel() for axes in figure.axes][:2] == ["Labels bought", "Clicks"]


def test_a_report_has_any_cost_as_its_axis(runs, tmp_path):
    text, _ = printed(report, runs, tmp_path / "out", x="pixels", target=0.5)
    line = next(words for words in map(str.split, text.splitlines()) if words[:1] == ["margin"])
    assert line[1:4] == ["2", "1,920", "62"]
    reached = next(line for line in text.splitlines() if line.startswith("digits, margin: 50 % was reached"))
    assert reached.partition(" with ")[2].split()[:2] == ["640", "pixels"], reached
    table = pd.read_csv(tmp_path / "out" / "summary.csv")
    assert set(table["axis"]) == {"pixels"} and set(table["labels"]) == {1920}
    figure = learning_curve_figure(read_runs([runs], Console(quiet=True)), "pixels")
    assert figure.axes[0].get_xlabel() == "Pixels bought"


def test_a_comparison_shows_the_bought_unit_and_clicks(runs, tmp_path):
    text, files = printed(compare, runs, tmp_path / "out")
    assert "digits: labels to reach a target" in text and "digits: clicks to reach a target" in text
    words = " ".join(text.split())
    assert "2 seeds, 10 to 30 labels." in words and "2 seeds, 21 to 45 clicks." in words
    assert len(files) == len(set(files)) and {f.parent.name for f in files} == {"out", "clicks"}
    table = pd.read_csv(tmp_path / "out" / "clicks" / "functions.csv")
    assert {"first_clicks", "last_clicks"} <= set(table) and "last_labels" not in table


def test_a_comparison_has_any_cost_as_its_axis(runs, tmp_path):
    text, files = printed(compare, runs, tmp_path / "out", x="seconds")
    assert "digits: seconds of labeling to reach a target" in text
    assert "digits: labels to reach" not in text and "clicks" not in text
    page = (tmp_path / "out" / "comparison.html").read_text()
    assert "Seconds of labeling" in page and "Labels bought" not in page
    assert {f.parent.name for f in files} == {"out"}


@pytest.mark.parametrize("command", [report, compare])
def test_an_axis_that_runs_do_not_record_is_refused(command, synthetic, tmp_path):
    for name in ("margin", "random"):
        synthetic.write_run(tmp_path / name, [0.5, 0.6], acquisition=name)
    with pytest.raises(DalError, match=r"^x: expected a cost that all runs record, got 'clicks', which '.*' does not"):
        command([tmp_path], tmp_path / "out", Console(quiet=True), x="clicks")
    assert not (tmp_path / "out").exists()
