import ast
import io
import os
import sys
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from rich.console import Console

import dal
from dal.analysis import read_run
from dal.costs.prices import PricesConfig
from dal.errors import DalError
from dal.reports.overview import bills_figure, learning_curve_figure, report


@pytest.fixture
def console():
    return Console(width=100, record=True, color_system=None, file=io.StringIO())


def test_several_runs_are_reported_beside_them(synthetic, tmp_path, console):
    for seed in range(2):
        for name in ("margin", "random"):
            synthetic.write_run(tmp_path / f"runs/digits/{name}/seed{seed}", [0.5, 0.6], seed=seed, acquisition=name)
    written = report([tmp_path], console=console)
    folder = tmp_path / "runs/digits"
    assert written == [folder / "learning_curve.png", folder / "bills.png", folder / "summary.csv"]
    assert set(pd.read_csv(written[2])["acquisition"]) == {"margin", "random"}
    for picture in written[:2]:
        with Image.open(picture) as image:
            image.verify()
    text = console.export_text()
    assert "Δ random" in text
    assert f"Learning curve: {written[0]}. Bills: {written[1]}. Numbers: {written[2]}." in text


def test_one_run_is_reported_in_its_folder_and_can_be_again(synthetic, tmp_path, console):
    path = synthetic.write_real_run(tmp_path / "run", [0.5, 0.6])
    before = {p.name for p in path.iterdir()}
    report([path], console=console)
    assert {p.name for p in path.iterdir()} - before == {"learning_curve.png", "bills.png", "summary.csv"}
    names = ("learning_curve.png", "bills.png", "summary.csv")
    first = [(path / name).read_bytes() for name in names]
    report([str(path)], console=console)
    assert first == [(path / name).read_bytes() for name in names]


def test_output_folder_is_made(synthetic, tmp_path, console):
    path = synthetic.write_run(tmp_path / "run", [0.5, 0.6])
    written = report([path], tmp_path / "new/deep", console)
    assert all(p.is_file() and p.parent == tmp_path / "new/deep" for p in written)
    assert not (path / "summary.csv").exists()


def test_relative_runs_are_written_to_a_relative_folder(synthetic, tmp_path, console, monkeypatch):
    monkeypatch.chdir(tmp_path)
    synthetic.write_run(Path("runs/a"), [0.5], seed=0)
    synthetic.write_run(Path("runs/b"), [0.5], seed=1)
    assert report(["runs/a", "runs/b"], console=console)[0] == Path("runs/learning_curve.png")


def test_a_run_that_has_just_begun_is_left_out_and_named(synthetic, tmp_path, console):
    synthetic.write_run(tmp_path / "old", [0.5, 0.6], seed=0)
    new = synthetic.write_run(tmp_path / "new", [], seed=1, stopped=None)
    report([tmp_path], console=console)
    assert pd.read_csv(tmp_path / "old/summary.csv")["seeds"].to_list() == [1]
    assert f"Ignored {new}, which has no finished round." in console.export_text()
    with pytest.raises(
        DalError, match=r"^run: '.*new' has no finished round yet\. Wait for it, or resume it with dal run\.$"
    ):
        report([new], console=console)


def test_a_bad_call_writes_nothing(synthetic, tmp_path, console):
    for folder in ("a", "b"):
        synthetic.write_run(tmp_path / "runs" / folder, [0.5, 0.6], seed=0)
    with pytest.raises(DalError, match="got seed 0 in"):
        report([tmp_path / "runs"], tmp_path / "out", console)
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DalError, match=r"^output: expected a folder, got '.*file'\.$"):
        report([tmp_path / "runs" / "a"], tmp_path / "file", console)
    assert (tmp_path / "file").read_text() == "mine"


def test_links_are_followed_and_pipes_are_kept(synthetic, tmp_path, console):
    run, out = synthetic.write_run(tmp_path / "runs" / "a", [0.5, 0.6], seed=0), tmp_path / "out"
    out.mkdir()
    (out / "summary.csv").symlink_to(tmp_path / "elsewhere.csv")
    (out / "bills.png").symlink_to(tmp_path / "no-suffix")
    report([run], out, console)
    assert (out / "summary.csv").is_symlink() and "margin" in (tmp_path / "elsewhere.csv").read_text()
    assert (tmp_path / "no-suffix").read_bytes().startswith(b"\x89PNG")
    (tmp_path / "elsewhere.csv").write_text("old")
    (out / "learning_curve.png").unlink()
    os.mkfifo(out / "learning_curve.png")
    with pytest.raises(DalError, match=r"^output: expected a file, got '.*learning_curve.png', which is a pipe"):
        report([run], out, console)
    assert (out / "learning_curve.png").is_fifo() and (tmp_path / "elsewhere.csv").read_text() == "old"


def test_a_link_in_a_run_folder_does_not_choose_what_is_overwritten(synthetic, tmp_path, console):
    run = synthetic.write_run(tmp_path / "a", [0.5, 0.6], seed=0)
    (tmp_path / "thesis").write_text("mine")
    (run / "summary.csv").symlink_to(tmp_path / "thesis")
    with pytest.raises(DalError, match=r"^output: expected a file in the run folder, got '.*', a link that leads out"):
        report([run], console=console)
    assert (tmp_path / "thesis").read_text() == "mine"


def test_prices_and_a_target_are_told_in_money(synthetic, tmp_path, console):
    path = synthetic.write_run(tmp_path / "run", [0.5, 0.7, 0.9], prices={"label": 2.0})
    report([path], console=console, target=0.8)
    assert "digits, margin: 80 % was reached with 25 labels and 50.00 USD." in console.export_text()
    report([path], console=console, target=0.8, prices=PricesConfig(label=1.0, currency="EUR"))
    assert "80 % was reached with 25 labels and 25.00 EUR." in console.export_text()
    (line,) = pd.read_csv(path / "summary.csv").to_dict("records")
    assert (line["money_total"], line["money_to_target"], line["currency"]) == (30, 25, "EUR")
    report([path], console=console)
    assert "80 %" not in console.export_text()
    with pytest.raises(DalError, match=r"^target: expected a share from 0 to 1, such as 0\.95, got 95\.$"):
        report([path], console=console, target=95)


def test_runs_with_other_prices_show_no_money_and_it_is_said(synthetic, tmp_path, console):
    for price in (1, 2):
        synthetic.write_run(tmp_path / f"{price}", [0.5, 0.6], seed=price, prices={"label": price})
    report([tmp_path], console=console)
    text = console.export_text()
    assert "Money is not shown, because the runs have different prices. Set them with --prices." in text
    assert "cost" not in text


@pytest.mark.parametrize("package", ["analysis", "reports"])
def test_reports_do_not_wait_for_torch(package):
    slow = ("torch", "pytorch_lightning", "dal.runs.folder", "dal.loop", "dal.data", "dal.models")
    imported = []
    for path in (Path(dal.__file__).parent / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                imported.append(node.module)
            elif isinstance(node, ast.Import):
                imported += [alias.name for alias in node.names]
    assert "dal.errors" in imported
    assert not [name for name in imported if name.startswith(slow)]


def test_another_primary_metric_is_followed_and_named(synthetic, tmp_path, console):
    synthetic.write_multilabel_run(tmp_path / "voc", [0.25, 0.75], data="voc")
    synthetic.write_run(tmp_path / "digits", [0.5, 0.625])
    report([tmp_path], console=console)
    summary = pd.read_csv(tmp_path / "summary.csv").set_index("data")
    assert summary.loc["voc", "metric"] == "mean_average_precision" and summary.loc["digits", "metric"] == "accuracy"
    assert summary.loc["voc", "test_mean_average_precision"] == 0.75 and summary.loc["voc", "area"] == 0.5
    assert summary.loc["digits", "test_accuracy"] == 0.625 and pd.isna(summary.loc["voc", "test_accuracy"])
    text = " ".join(console.export_text().split())
    assert (
        "Accuracy or mean average precision: on the test set" in text or "Mean average precision or accuracy:" in text
    )
    assert " 75.0 50.0 " in text and " 62.5 56.2 " in text
    figures = [learning_curve_figure([read_run(tmp_path / name)]) for name in ("voc", "digits")]
    labels = [figure.axes[0].get_ylabel() for figure in figures]
    assert labels == ["Test mean average precision (%)", "Test accuracy (%)"]
    assert bills_figure([read_run(tmp_path / "voc")]).axes[0].get_ylabel() == labels[0]


class Closed(io.StringIO):
    """Output whose reader has gone."""

    def write(self, text):
        raise BrokenPipeError


def test_files_are_there_though_nobody_reads_the_table(synthetic, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdout", (tmp_path / "out").open("w"))  # rich closes the file below it
    synthetic.write_run(tmp_path / "run", [0.5, 0.6])
    with pytest.raises((BrokenPipeError, SystemExit)):
        report([tmp_path / "run"], console=Console(file=Closed()))
    assert {"learning_curve.png", "bills.png", "summary.csv"} <= {p.name for p in (tmp_path / "run").iterdir()}
