"""The benchmarks of `dal label`: kills without a trainer, ten people at once, and the start, at a small size."""

import sys

import pandas as pd
from helpers.benchmark_scripts import imported


def tables(script, monkeypatch, folder, *arguments):
    monkeypatch.setattr(sys, "argv", [f"{script}.py", "--quick", "--results", str(folder), *map(str, arguments)])
    assert imported(script).main() == 0
    (written,) = folder.glob("*")
    return {path.stem: pd.read_csv(path) for path in written.glob("*.csv")}


def test_killed_pages_lose_no_answer_and_ten_people_label_no_image_twice(tmp_path, monkeypatch):
    arguments = ("--kills", 3, "--images", 200, "--answers", 4, "--no-train")
    found = tables("people_kills", monkeypatch, tmp_path, *arguments)
    assert found["kills"]["kills"].sum() == 3
    journal = found["journal"].iloc[0]
    assert journal["acknowledged"] > 0 and journal["torn"] > 0
    for name in ("lost", "events twice", "images twice", "handed twice", "gaps", "refused"):
        assert journal[name] == 0 and found["load"][name].eq(0).all(), name
    assert found["load"]["acknowledged"].eq(40).all()
    assert list(found["load"]["people"]) == ["1:40", "2:20"]


def test_the_start_and_the_fold_are_measured(tmp_path, monkeypatch):
    found = tables("people_start", monkeypatch, tmp_path, "--images", 30, "--events", 500, "--repeats", 1)
    assert list(found["start"]["note"]) == ["first start", "started again"]
    assert (found["start"]["memory MB"] > 0).all() and found["fold"]["events"].eq(500).all()
