import io
import os
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from rich.console import Console

from dal.errors import DalError
from dal.reports.comparison import compare

FILES = {
    "comparison.html",
    "curves.csv",
    "functions.csv",
    "learning_curves.png",
    "learning_curves.svg",
    "pairs.csv",
    "penalty.csv",
    "ranks.csv",
    "tables.tex",
    "targets.csv",
}


@pytest.fixture
def console():
    return Console(width=100, record=True, color_system=None, file=io.StringIO())


@pytest.fixture
def runs(synthetic, tmp_path):
    rng = np.random.default_rng(0)
    for seed in range(3):
        for name, gain in (("random", 0.0), ("margin", 0.1), ("badge", 0.0)):
            accuracies = [0.5, *(rng.normal([0.6, 0.7], 0.005) + gain).round(3).tolist()]
            path = tmp_path / f"runs/digits/{name}/seed{seed}"
            synthetic.write_paired_run(path, accuracies, seed=seed, acquisition=name)
    return tmp_path / "runs"


def test_it_writes_beside_the_runs_and_says_what_it_found(runs, console):
    written = compare([runs], console=console)
    folder = runs / "digits" / "compare"
    assert {p.name for p in folder.iterdir()} == FILES == {p.name for p in written}
    assert {p.parent for p in written} == {folder}
    text = console.export_text()
    said = (
        "digits, 3 seeds, 10 to 30 labels, area: margin is significantly above random; badge is not significantly "
        "different from random"
    )
    assert said in " ".join(text.split())
    assert "digits: 3 seeds are few: bootstrap intervals of 95 % contain the true value in about 75 % of cases." in text
    assert "Pairwise penalty matrix" in text and "Mean ranks" not in text  # over one data set they say nothing new
    assert f"Page: {folder / 'comparison.html'}. Its tables, numbers and figures are in the same folder." in text


class Closed(io.StringIO):
    """Output whose reader has gone."""

    def write(self, text):
        raise BrokenPipeError


def test_files_are_there_though_nobody_reads_the_tables(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdout", (tmp_path / "out").open("w"))  # rich closes the file below it
    with pytest.raises((BrokenPipeError, SystemExit)):
        compare([runs], console=Console(file=Closed()))
    assert {p.name for p in (runs / "digits" / "compare").iterdir()} == FILES


def test_numbers_come_back_from_csv(runs, console):
    compare([runs], console=console, targets=[0.75, 0.99])
    folder = runs / "digits" / "compare"
    functions = pd.read_csv(folder / "functions.csv").set_index("function")
    assert functions.loc["margin", "p_holm"] < 0.05 and np.isnan(functions.loc["random", "p_holm"])
    targets = pd.read_csv(folder / "targets.csv").set_index(["target", "function"])
    assert targets.loc[(0.99, "margin"), "labels"] == np.inf and 20 < targets.loc[(0.75, "margin"), "labels"] < 30
    curves = pd.read_csv(folder / "curves.csv")
    assert len(curves) == 9 and {"seed_0", "seed_2", "accuracy", "accuracy_interval"} < set(curves)
    penalty = pd.read_csv(folder / "penalty.csv").set_index("beats")
    assert penalty.loc["margin", "random"] == 1 and penalty.loc["mean of the column", "random"] == pytest.approx(1 / 3)
    assert pd.read_csv(folder / "ranks.csv").set_index("function").loc["margin", "mean_rank"] == 1
    assert len(pd.read_csv(folder / "pairs.csv")) == 3


def test_again_gives_the_same_files(runs, console):
    first = {path.name: path.read_bytes() for path in compare([runs], console=console)}
    assert {path.name: path.read_bytes() for path in compare([runs], console=console)} == first


def test_the_pictures_are_pictures(runs, console, tmp_path):
    compare([runs], tmp_path / "new/deep", console)
    with Image.open(tmp_path / "new/deep/learning_curves.png") as image:
        image.verify()
    assert (tmp_path / "new/deep/learning_curves.svg").read_text().startswith("<?xml")


def test_nothing_is_written_into_a_run_or_where_runs_are_not_paired(runs, synthetic, console, tmp_path):
    inside = runs / "digits/margin/seed0"
    for output in (inside, inside / "compare"):
        with pytest.raises(DalError, match=r"^output: expected a folder outside of runs, got '"):
            compare([runs], output, console)
    assert not (inside / "compare").exists()
    synthetic.write_paired_run(runs / "digits/margin/seed3", [0.5, 0.6, 0.7], seed=3, acquisition="margin")
    with pytest.raises(DalError, match="no seed 3 of"):
        compare([runs], tmp_path / "out", console)
    assert not (tmp_path / "out").exists()
    compare([runs], tmp_path / "out", console, common_seeds=True)
    assert "digits: compared only on seeds 0, 1, 2" in console.export_text()


def test_a_link_among_the_files_is_followed_and_a_pipe_is_kept(runs, console, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "pairs.csv").symlink_to(tmp_path / "mine.csv")
    compare([runs], out, console)
    assert (out / "pairs.csv").is_symlink() and (tmp_path / "mine.csv").stat().st_size
    (tmp_path / "mine.csv").write_text("old")
    (out / "learning_curves.svg").unlink()
    os.mkfifo(out / "learning_curves.svg")
    with pytest.raises(DalError, match=r"^output: expected a file, got '.*learning_curves.svg', which is a pipe"):
        compare([runs], out, console)
    assert (out / "learning_curves.svg").is_fifo() and (tmp_path / "mine.csv").read_text() == "old"


def test_a_file_as_output_is_refused(runs, console, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DalError, match=r"^output: expected a folder, got '.*file'\.$"):
        compare([runs], tmp_path / "file", console)


def test_a_run_that_has_just_begun_is_left_out_and_named(runs, synthetic, console):
    new = synthetic.write_run(runs / "digits/margin/seed9", [], seed=9, stopped=None)
    compare([runs], console=console)
    assert f"Ignored {new}, which has no finished round." in console.export_text()


def test_several_data_sets_are_ranked_and_tested(runs, synthetic, console, tmp_path):
    rng = np.random.default_rng(1)
    for data in ("a", "b", "c"):
        for seed in range(2):
            for i, name in enumerate(("random", "margin", "badge")):
                row = [0.5, 0.5 + 0.1 * i + rng.normal(0, 0.001)]
                synthetic.write_paired_run(runs / data / name / str(seed), row, seed=seed, acquisition=name, data=data)
    compare([runs], tmp_path / "out", console)
    text = " ".join(console.export_text().split())
    # badge, margin, random: 1, 2, 3 on three data sets, and 3, 1, 2 on digits; chi-square with 2 degrees: exp(-3.5 / 2)
    assert "Friedman: chi-square 3.50, p 0.174" in text
    assert "With 4 data sets, fewer than 10, Friedman's p-value is approximate" in text
    assert "summed over 4 data sets, so at most 4" in text
    assert "Mean ranks over data sets" in text
    ranks = pd.read_csv(tmp_path / "out/ranks.csv").set_index("function")
    assert ranks["mean_rank"].to_dict() == {"badge": 1.5, "margin": 1.75, "random": 2.75}


def test_cli(runs, capsys, tmp_path):
    from dal.cli.main import main

    with pytest.raises(SystemExit) as status:
        main(["compare", str(runs), "--target", "0.6", "0.7", "--output", str(tmp_path / "out")])
    assert status.value.code == 0 and (tmp_path / "out" / "comparison.html").is_file()
    assert "labels to 70 %" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(SystemExit) as status:
        main(["compare", str(runs), "--baseline", "badgee"])
    assert status.value.code == 2
    assert "baseline: expected one of 'badge', 'margin', 'random', got 'badgee' (did you mean 'badge'?)." in (
        capsys.readouterr().err
    )


def test_another_primary_metric_is_followed_and_named(synthetic, tmp_path, console):
    for name, gain in (("random", 0.0), ("margin", 0.125)):
        path = tmp_path / f"runs/voc/{name}"
        values, write = [0.25, 0.5 + gain], synthetic.write_paired_run
        synthetic.write_multilabel_run(path, values, write=write, data="voc", acquisition=name)
    compare([tmp_path / "runs"], console=console)
    folder = tmp_path / "runs" / "voc" / "compare"
    functions = pd.read_csv(folder / "functions.csv").set_index("function")
    assert functions["mean_average_precision"].to_dict() == {"margin": 0.625, "random": 0.5}
    assert "mean_average_precision" in pd.read_csv(folder / "curves.csv")
    text = " ".join(console.export_text().split())
    assert "mean test mean average precision along the curve" in text
    assert "Test mean average precision (%)" in (folder / "comparison.html").read_text()
