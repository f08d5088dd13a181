"""Names that mean something to CSV, a terminal, rich, a spreadsheet, HTML, LaTeX or Matplotlib change nothing else."""

import csv
import json
import re
import warnings

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dal.cli.main import main
from dal.reports.offline.markup import script_json
from dal.runs.files.state import read_state
from dal.runs.folder import RunFolder
from dal.runs.journal import read_selections
from dal.runtime.safe_text import visible

CLASSES = ["[bold]", "=1+1", "$a$ _b", "<!--<script>"]
FILES = ["a\rb", 'c\n"d", e', "[", "=HYPERLINK(x)", "\x1b[31m\x9b", "\u202egnp", "\t+1", "-1", "@x", "é\u2028"]
RUN_DIR = "[red] $r$ <!--<script>"
QUICK = [
    "data=image_folder",
    "experiment=none",
    "data.image_size=8",
    "campaign.initial_size=8",
    "campaign.query_size=8",
    "campaign.budget=16",
    "campaign.validation_size=0",
    "training.min_updates=0",
    "training.max_updates=2",
    "training.check_every=2",
]


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as caught:
        main([str(a) for a in arguments])
    printed = capsys.readouterr()
    assert not caught.value.code, printed.err
    return printed.out + printed.err


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for name in CLASSES:
        (root / name.replace("/", "")).mkdir()
        for file in FILES:
            pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{file}.png", format="png")
    return root


def cut_off_before_the_second(commit):
    calls = []

    def cut(*arguments):
        calls.append(1)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return commit(*arguments)

    return cut


def shows_nothing_hidden(text):
    return not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u2028]", text)


def test_a_run_with_such_names_resumes_reports_compares_and_ranks(folder, tmp_path, monkeypatch, capsys, real_pictures):
    monkeypatch.chdir(tmp_path)
    runs = tmp_path / RUN_DIR
    common = ["run", *QUICK, f"data.root={folder}"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # glyphs that the font lacks
        out = call(capsys, *common, "acquisition=random", f"run_dir={runs / 'random0'}")
        assert "[bold]" in out and "<!--<script>" in out and f"{RUN_DIR}/random0: rounds.jsonl" in out
        assert shows_nothing_hidden(out)
        cut = runs / "margin0"
        margin = [*common, "acquisition=margin", f"run_dir={cut}"]
        with monkeypatch.context() as patch:
            patch.setattr(RunFolder, "commit_selection", cut_off_before_the_second(RunFolder.commit_selection))
            with pytest.raises(SystemExit) as caught:
                main(margin)
        assert caught.value.code == 130 and (cut / "query.csv").is_file()
        assert "Resuming" in call(capsys, *margin)
        ids = {point.id for point in read_selections(cut, read_state(cut))}
        assert ids <= {f"{name}/{file}.png" for name in CLASSES for file in FILES} and len(ids) == 16
        with (cut / "selections.csv").open(newline="") as file:
            assert {row["id"] for row in csv.DictReader(file)} == ids
        assert set(pd.read_csv(cut / "selections.csv")["id"]) == ids
        assert json.loads((cut / "data.json").read_text())["classes"] == sorted(CLASSES)
        assert "already finished" in call(capsys, *margin)
        out = call(capsys, "report", runs)
        out += call(capsys, "compare", "--vary", "model.lr", "--target", "0.1", runs)
        out += call(capsys, "rank", "acquisition=entropy", "--top", "20", cut)
    assert shows_nothing_hidden(out) and RUN_DIR in out
    for name in ("summary.csv", "compare/functions.csv", "compare/curves.csv"):
        assert_no_formulas(runs / name)
    assert_no_formulas(cut / "ranking_entropy.csv")
    ranked = pd.read_csv(cut / "ranking_entropy.csv")
    assert len(ranked) == 20 and any(name.startswith("'=") for name in ranked["id"])


def assert_no_formulas(path):
    with path.open(newline="") as file:
        for row in csv.reader(file):
            for cell in row:
                assert not cell.startswith(("=", "+", "@", "\t", "\r")), cell
                assert shows_nothing_hidden(cell)


def test_the_script_of_a_page_ends_where_it_should():
    names = ["</script>", "<!--<script>", "a\u2028b", "]]>", "\udce9"]
    text = script_json(names)
    assert "<" not in text and text.isascii() and json.loads(text) == names


def test_a_terminal_sees_no_control_characters():
    for text in FILES:
        assert shows_nothing_hidden(visible(text))
    assert visible("Größe 5 ± 1 🦊 日本") == "Größe 5 ± 1 🦊 日本"
