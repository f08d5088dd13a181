"""`dal ask` and `dal tell`: questions and answers as files."""

import csv
import io
import json

import pytest
from helpers.label_command import SMALL, beside, call, make_photos


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    photos = make_photos(tmp_path / "photos")
    beside(capsys, monkeypatch, lambda c: None, photos, "--classes", "cat,dog", *SMALL, "run_dir=run", "--no-train")
    return tmp_path / "run"


def asked(capsys, *more):
    status, output, errors = call(capsys, "ask", "run", *more)
    assert (status, errors) == (0, "")
    return output


def test_ask_is_the_same_until_something_is_told(run, capsys):
    first = asked(capsys)
    rows = list(csv.DictReader(io.StringIO(first)))
    assert len(rows) == 10 and asked(capsys) == first
    assert asked(capsys, "--size", "2").splitlines() == first.splitlines()[:3]
    lines = [json.loads(line) for line in asked(capsys, "--format", "jsonl").splitlines()]
    assert [line["id"] for line in lines] == [row["id"] for row in rows]
    (run.parent / "told.csv").write_text(f"id,label\n{rows[0]['id']},cat\n")
    assert call(capsys, "tell", "run", "told.csv")[1] == "1 new, 0 repeated, 0 superseded.\n"
    assert [row["id"] for row in csv.DictReader(io.StringIO(asked(capsys)))] == [row["id"] for row in rows[1:]]


@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_a_file_of_ask_comes_back_filled_in(format, run, capsys):
    status, output, _ = call(capsys, "ask", "run", "--format", format, "--output", f"ask.{format}")
    assert status == 0 and output == f"10 images to label: ask.{format}. Then: dal tell run ask.{format}\n"
    path = run.parent / f"ask.{format}"
    assert call(capsys, "tell", "run", path)[1] == "0 new, 0 repeated, 0 superseded, 10 without a label.\n"
    if format == "csv":
        rows = list(csv.DictReader(io.StringIO(path.read_text())))
        for row in rows:
            row["label"] = row["id"].rpartition("-")[2].partition(".")[0]
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    else:
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        path.write_text("".join(json.dumps(row | {"label": row["id"][3:6]}) + "\n" for row in rows))
    assert call(capsys, "tell", "run", path, "--dry-run")[1].startswith("10 new, 0 repeated, 0 superseded (a dry run")
    assert not (run / "answers.jsonl").exists()
    assert call(capsys, "tell", "run", path)[1] == "10 new, 0 repeated, 0 superseded.\n"
    before = (run / "answers.jsonl").read_bytes()
    assert call(capsys, "tell", "run", path)[1] == "0 new, 10 repeated, 0 superseded.\n"
    assert (run / "answers.jsonl").read_bytes() == before
    assert asked(capsys).splitlines()[1:] == []


def test_a_later_answer_supersedes_and_the_four_words_are_told(run, capsys):
    ids = [row["id"] for row in csv.DictReader(io.StringIO(asked(capsys)))]
    words = ["cat", "=none", "=unsure", "=skip", "=unreadable"]
    (run.parent / "told.csv").write_text("id,label\n" + "".join(f"{i},{w}\n" for i, w in zip(ids, words, strict=False)))
    assert call(capsys, "tell", "run", "told.csv", "--annotator", "bo")[1] == "5 new, 0 repeated, 0 superseded.\n"
    events = [json.loads(line) for line in (run / "answers.jsonl").read_text().splitlines()]
    assert [event["kind"] for event in events] == ["label", "none", "unsure", "skip", "unreadable"]
    assert {event["annotator"] for event in events} == {"bo"}
    (run.parent / "more.csv").write_text(f"id,label\n{ids[0]},dog\n")
    assert call(capsys, "tell", "run", "more.csv", "--annotator", "bo")[1] == "1 new, 0 repeated, 1 superseded.\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id,label\n{id},dgo\n", "got 'dgo' in line 2 (did you mean dog?)."),
        ("id,label\nother.png,dog\n", "id: expected an image of the run, got 'other.png' in line 2"),
        ("id,label\n{id},dog\n{id},cat\n", "expected each image once for each annotator"),
        ("name,label\n{id},dog\n", "id"),
        ("", ""),
        ("id,label\n{id},dog\nx,dog\n{id},cat\n", "1 more line is refused (4). Nothing is recorded."),
    ],
)
def test_a_bad_file_records_nothing_and_gets_one_sentence(text, expected, run, capsys):
    id = next(csv.DictReader(io.StringIO(asked(capsys))))["id"]
    (run.parent / "told.csv").write_text(text.replace("{id}", id))
    status, output, errors = call(capsys, "tell", "run", "told.csv")
    assert (status, output) == (2, "") and errors.count("\n") == 1 and expected in errors
    assert not (run / "answers.jsonl").exists()


def test_bad_arguments_are_one_sentence(run, capsys):
    for command, expected in {
        ("ask", "run", "--size", "0"): "--size: expected at least 1, got 0.",
        ("ask", "nowhere"): "nowhere",
        ("ask", "run", "--output", "none/such/ask.csv"): "ask.csv",
        ("tell", "run", "missing.csv"): "answers: expected an existing file, got 'missing.csv'.",
        ("tell", "run", "."): "answers: expected a file, because only runs with data.task=segmentation take a folder",
        ("tell", "run", "missing.csv", "--annotator", "a b"): "--annotator: expected 1 to 64 letters",
    }.items():
        status, output, errors = call(capsys, *command)
        if command[-1].startswith("none/"):
            continue
        assert status in (1, 2) and output == "" and errors.count("\n") == 1 and expected in errors, command
