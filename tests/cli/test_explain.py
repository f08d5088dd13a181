"""`dal explain` from the command line, on simulated records."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from helpers.detections import detected_of
from helpers.histories import history_of
from helpers.synthetic_runs import write_run

from dal.cli import explain as command
from dal.cli.main import main
from dal.cli.thumbnails import images_of
from dal.data import load
from dal.data.images import ImageSplits
from dal.data.sets.digits import Digits
from dal.reports import explanation
from dal.reports.explanation.order_results import order_results
from dal.runs.files.committed import hash_file
from dal.runs.files.points import write_points
from dal.runs.files.state import read_state, write_state
from dal.runs.order_file import Schedule, order_file, read_orders, write_orders
from dal.runs.reader import read_run

ROUNDS = 4


@pytest.fixture(autouse=True)
def records(monkeypatch):
    """The records of a run with as many rounds as its folder says."""

    def read(path):
        rounds = json.loads((path / "state.json").read_text())["rounds"]
        return history_of(classes=3, rounds=rounds, test=20, checks=False)

    monkeypatch.setattr(explanation, "read_history", read)
    monkeypatch.setattr(explanation, "all_detected", detected_of)


@pytest.fixture
def run(tmp_path):
    run = write_run(tmp_path / "run", [0.5, 0.6, 0.7, 0.8])
    (run / "all.jsonl").write_text((run / "rounds.jsonl").read_text())
    return run


def call(capsys, *arguments):
    """In this process: (exit status, what was printed, errors)."""
    with pytest.raises(SystemExit) as caught:
        main(["explain", *map(str, arguments)])
    printed = capsys.readouterr()
    return caught.value.code or 0, printed.out, printed.err


def advance(run, rounds, stage="select"):
    """Let a run commit more rounds, as far as its journal has them."""
    state = json.loads((run / "state.json").read_text())
    lines = (run / "all.jsonl").read_text().splitlines(keepends=True)[:rounds]
    if stage != "done" and lines:
        lines[-1] = lines[-1].replace('"campaign_stopped": "budget"', '"campaign_stopped": null')
    (run / "rounds.jsonl").write_text("".join(lines))
    size = {"rounds.jsonl": sum(map(len, lines))} if rounds else {}
    (run / "state.json").write_text(json.dumps(state | {"rounds": rounds, "stage": stage, "bytes": size}))


def test_the_page_the_tables_and_the_headlines(run, capsys):
    status, out, err = call(capsys, run, "--no-images")
    assert (status, err) == (0, "")
    assert "- In round 1 the model got 21 of the 50 test images of class 1 wrong" in " ".join(out.split())
    assert "Nothing found: classes that stall," in " ".join(out.split())
    assert "Cannot be told: a network that is too narrow or too deep. No features" in " ".join(out.split())
    assert "Labels and recall" not in out, "what is true of nearly all runs is only in its section"
    assert f"Page: {run / 'explain' / 'report.html'}." in out
    names = {path.name for path in (run / "explain").iterdir()}
    assert {"report.html", "findings.csv", "learned_changes.csv", "queries_effect.csv"} <= names
    assert "made with --no-images" in (run / "explain" / "report.html").read_text()


def test_bad_input_is_one_sentence_and_writes_nothing(run, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    other = write_run(tmp_path / "other", [0.5])
    empty = write_run(tmp_path / "empty", [], stopped=None)
    for arguments, said in (
        ([tmp_path / "nowhere"], "run: expected a run folder"),
        ([tmp_path], "run: expected a run folder"),
        ([empty], "has no finished round yet"),
        ([run, "--output", tmp_path / "file"], "output: expected a folder"),
        ([run, "--output", run], "output: expected a folder outside of other runs"),
        ([run, "--output", other / "page"], "output: expected a folder outside of other runs"),
    ):
        status, _, err = call(capsys, *arguments, "--no-images")
        assert status == 2 and err.count("\n") == 1 and said in err, arguments
    assert not (other / "page").exists() and not (run / "explain").exists()
    status, _, _ = call(capsys, run, "--no-images", "--output", tmp_path / "page")
    assert status == 0 and (tmp_path / "page" / "report.html").is_file()


def test_watch_draws_after_each_round_until_the_run_is_done(run, capsys, monkeypatch):
    page, seen = run / "explain" / "report.html", []

    def sleep(seconds):
        seen.append((page.is_file(), page.is_file() and 'http-equiv="refresh"' in page.read_text()))
        rounds = len(seen)
        advance(run, min(rounds, ROUNDS), "done" if rounds > ROUNDS else "select")

    advance(run, 0)
    monkeypatch.setattr(command.time, "sleep", sleep)
    status, out, err = call(capsys, run, "--no-images", "--watch")
    assert (status, err) == (0, "") and seen == [(False, False), *[(True, True)] * ROUNDS]
    assert out.count("Page: ") == ROUNDS + 1 and out.count("no finished round yet") == 1
    assert 'http-equiv="refresh"' not in page.read_text()


def test_watch_waits_in_a_folder_that_has_no_commit_yet(run, tmp_path, capsys, monkeypatch):
    started = tmp_path / "started"
    started.mkdir()
    (started / "config.yaml").write_text("seed: 0")
    waits = []

    def sleep(seconds):
        waits.append(seconds)
        if len(waits) == 3:
            shutil.copytree(run, started, dirs_exist_ok=True)

    monkeypatch.setattr(command.time, "sleep", sleep)
    status, out, err = call(capsys, started, "--no-images", "--watch")
    assert (status, err) == (0, "") and len(waits) == 3
    assert out.count("no finished round yet") == 1 and out.count("Page: ") == 1
    for folder in (tmp_path, tmp_path / "nowhere"):
        status, _, err = call(capsys, folder, "--no-images", "--watch")
        assert status == 2 and "run: expected a run folder" in err, "no run starts here"


def test_ctrl_c_ends_waiting_without_a_page(tmp_path, capsys, monkeypatch):
    def interrupt(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(command.time, "sleep", interrupt)
    assert call(capsys, tmp_path, "--watch", "--no-images")[::2] == (0, "")
    assert list(tmp_path.iterdir()) == []


def test_results_of_orders_are_on_the_page(run, capsys):
    accuracies = {"random": 0.8, "reversed": 0.7}
    done = {
        (name, seed): [0.5, 0.6, 0.7, value + seed / 100] for name, value in accuracies.items() for seed in range(3)
    }
    write_orders(run, schedule := Schedule(40, [10] * 4, [100, 101, 102, 103]), done)
    assert read_orders(run) == (schedule, done)
    assert call(capsys, run, "--no-images")[0] == 0
    page = (run / "explain" / "report.html").read_text()
    assert "cannot be told from 3 seeds: at least 5 are needed." in page
    assert (
        "<td class=name>in reverse</td><td>71.0 %</td><td>62.7 %</td><td>-10.00 ± 0.00</td><td>&lt; 0.000001</td>"
        in page
    )
    write_orders(run, Schedule(30, [10] * 3, [100, 101, 102]), {one: values[:3] for one, values in done.items()})
    assert "are of fewer rounds of this run" in order_results(read_run(run))
    order_file(run).write_text("# [1, [1], [1]]\norder,seed,round,accuracy\nrandom,0,0,nan\n")
    assert "is damaged. Delete it to start again." in order_results(read_run(run))


def test_ctrl_c_ends_watching_and_stops_the_page_from_reloading(run, capsys, monkeypatch):
    def interrupt(seconds):
        raise KeyboardInterrupt

    advance(run, ROUNDS)
    monkeypatch.setattr(command.time, "sleep", interrupt)
    status, out, err = call(capsys, run, "--no-images", "--watch")
    assert err == ""
    assert status == 0 and out.count("Page: ") == 1
    assert 'http-equiv="refresh"' not in (run / "explain" / "report.html").read_text()


def test_a_run_of_the_library_has_a_page_without_thumbnails(run, capsys):
    (run / "config.yaml").write_text("seed: 1\nnote: whatever tells this run from others\n")
    status, out, err = call(capsys, run)
    assert (status, err.replace("Loading PyTorch and Lightning ...\n", "")) == (0, "")
    assert out.startswith("run, seed 1")
    text = (run / "explain" / "report.html").read_text()
    assert "because the run does not name its data set. Pass images to explain()." in text


def test_thumbnails_are_the_images_of_the_run(run):
    splits = load(Digits())
    state = json.loads((run / "state.json").read_text())
    (run / "state.json").write_text(json.dumps(state | {"data": str(splits.fingerprint())}))
    image_of, reason = images_of(run)
    assert reason == "" and image_of("test", len(splits.test)) is None
    for split, data in (("train", splits.train), ("test", splits.test)):
        assert np.array_equal(image_of(split, 3), data.source.batch([3])[0].permute(1, 2, 0))


def test_changed_images_are_named_in_place_of_thumbnails(run):
    train, test = load(Digits())
    before = ImageSplits(replace(train, labels=train.labels.roll(1)), test).fingerprint()
    points = write_points(run, before)
    digests = points | {"config.yaml": hash_file(run, "config.yaml")}
    write_state(run, read_state(run) | {"data": str(before), "digests": digests})
    image_of, reason = images_of(run)
    assert image_of is None
    assert re.match(r"There are no thumbnails, because .* other labels of the same images \([\d,]+ changed: ", reason)


@pytest.mark.parametrize("changes", [{}, {"data__name": "no_such_set"}])
def test_other_data_gives_no_thumbnails_and_a_sentence(tmp_path, changes):
    run = write_run(tmp_path / "run", [0.5], fingerprint="1f-2b-3c-4d", **changes)
    image_of, reason = images_of(run)
    assert image_of is None and reason.startswith("There are no thumbnails, because ") and reason.endswith(".")
