"""`dal label`: the page, its trainer, and how both end."""

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import processes
from helpers.label_command import SMALL, Labeling, answer_all, beside, call, client_of, make_photos

from dal.cli import trainer_child, trainer_keeper
from dal.cli.ask import tell_command
from dal.cli.main import main

CLASSES = ("--classes", "cat,dog")


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return make_photos(tmp_path / "photos")


def events(run):
    return [json.loads(line) for line in (run / "answers.jsonl").read_text().splitlines()]


def test_people_answer_and_ctrl_c_stops_with_what_is_saved(photos, tmp_path, capsys, monkeypatch):
    def work(client):
        assert len(answer_all(client, 3)) == 3

    start = [photos, *CLASSES, *SMALL, "--no-train"]
    status, output, errors = beside(capsys, monkeypatch, work, *start)
    assert (status, errors) == (130, "")
    assert "runs/label/photos: 0 answers are saved." in output and "budget" not in output
    assert "Stopped. 3 answers are saved. The same command goes on." in output
    run = tmp_path / "runs" / "label" / "photos"
    assert [(event["seq"], event["annotator"]) for event in events(run)] == [(1, "ana"), (2, "ana"), (3, "ana")]

    def go_on(client):
        assert len(answer_all(client)) == 7, "six initial points and four spare ones, of which three are answered"

    status, output, _ = beside(capsys, monkeypatch, go_on, run, "--no-train")
    assert status == 130 and "photos: 3 answers are saved." in output and "Stopped. 10 answers are saved." in output
    assert len({event["index"] for event in events(run)}) == 10


def test_a_page_without_a_trainer_stops_at_the_budget_and_says_so(photos, capsys, monkeypatch):
    def work(client):
        assert len(answer_all(client)) == 7
        assert client.lease(1)[1]["nothing"] == {"kind": "done", "sentence": "Done: the budget of 7 labels is spent."}
        processes.wait_for(told)

    def told():
        said.append(capsys.readouterr().out)
        return "The budget of 7 labels is spent: the page asks for no more." in "".join(said)

    said = []
    start = [photos, *CLASSES, *SMALL[:-1], "--no-train"]
    assert beside(capsys, monkeypatch, work, *start, "campaign.budget=7")[0] == 130
    status, _, errors = call(capsys, "label", *start, "campaign.budget=5", "run_dir=other")
    assert status == 2
    assert "campaign.budget: expected at least the 6 initial, validation and test labels, got 5." in errors

    def nobody_trains(client):
        assert len(answer_all(client)) == 10
        assert client.lease(1)[1]["nothing"]["sentence"] == "Nothing to label now: no trainer is running."

    assert beside(capsys, monkeypatch, nobody_trains, *start, "campaign.budget=16", "run_dir=more")[0] == 130


def test_an_open_tab_works_after_a_restart_at_the_same_address(photos, capsys, monkeypatch):
    tabs = []

    def first(client):
        tabs.append(client)

    def second(client):
        old = tabs.pop()
        assert (old.server.port, old.cookie) == (client.server.port, client.cookie)
        old.connection.close()
        assert old.post("status")[0] == 200

    for work in (first, second):
        assert beside(capsys, monkeypatch, work, photos, *CLASSES, "--no-train")[0] == 130


def test_sigterm_ends_the_page_in_order(photos, capsys, monkeypatch):
    status, output, _ = beside(
        capsys, monkeypatch, lambda client: answer_all(client, 1), photos, *CLASSES, "--no-train", number=signal.SIGTERM
    )
    assert status == 143 and "Stopped. 1 answer is saved." in output


def test_a_run_has_one_page_at_a_time(photos, capsys, monkeypatch):
    def work(client):
        with pytest.raises(SystemExit) as caught:
            main(["label", str(photos), *CLASSES, "--no-train"])
        assert caught.value.code == 2
        told.append(capsys.readouterr().err)

    told = []
    assert beside(capsys, monkeypatch, work, photos, *CLASSES, "--no-train")[0] == 130
    assert "the page of 'runs/label/photos' is already open on port " in told[0]


def test_the_name_of_the_person_is_in_the_address(photos, capsys, monkeypatch):
    _, output, _ = beside(capsys, monkeypatch, lambda client: None, photos, *CLASSES, "--no-train", "--annotator", "bo")
    assert output.partition("Label at ")[2].split()[0].endswith("&name=bo")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--annotator", "a b"], "--annotator: expected 1 to 64 letters, digits or ._@-, and not dal, got 'a b'."),
        (["--host", "0.0.0.0"], "token"),
        (["--host", "no.such.host.invalid", "--token-file", "token.txt"], "host: expected an address of this machine"),
        (["--host", "192.0.2.1", "--token-file", "token.txt"], "host: expected an address of this machine, got '192.0"),
        (["--token-file", "missing.txt"], "missing.txt"),
        (["--token-file", "short.txt"], "token_file: expected 16 to 256 of A-Z a-z 0-9 . _ ~ -, got other text."),
        (["--port", "70000"], "port"),
        (["--port", "-1"], "port"),
    ],
)
def test_bad_options_are_one_sentence(arguments, expected, photos, tmp_path, capsys):
    (tmp_path / "short.txt").write_text("short")
    (tmp_path / "token.txt").write_text("a-token-of-at-least-16")
    status, output, errors = call(capsys, "label", photos, *CLASSES, "--no-train", *arguments)
    assert status in (1, 2) and output == ""
    assert errors.startswith("Error: ") and errors.count("\n") == 1 and expected in errors


def test_a_port_that_is_taken_is_one_sentence(photos, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        status, _, errors = call(capsys, "label", photos, *CLASSES, "--no-train", "--port", port)
    assert status == 2 and str(port) in errors and errors.count("\n") == 1


def test_another_host_works_with_a_token_file(photos, tmp_path, capsys, monkeypatch):
    (tmp_path / "token.txt").write_text("a-token-of-at-least-16\n")

    def work(client):
        assert client.post("status")[0] == 200

    more = ["--host", "0.0.0.0", "--token-file", tmp_path / "token.txt"]
    status, output, _ = beside(capsys, monkeypatch, work, photos, *CLASSES, "--no-train", *more)
    assert status == 130 and "a-token-of-at-least-16" in output
    assert "a-token-of" not in (tmp_path / "runs" / "label" / "photos" / ".page.json").read_text()


def test_answers_told_by_file_are_seen_by_the_page(photos, tmp_path, capsys, monkeypatch):
    def work(client):
        _, found = client.lease(4)
        first, second = found["items"][:2]
        (tmp_path / "told.csv").write_text(f"id,label\n{first['id']},dog\n")
        tell_command("runs/label/photos", str(tmp_path / "told.csv"), "bo", "auto", False)
        kept = client.post("lease", count=0, have=[first["index"], second["index"]])[1]
        assert kept["kept"] == [second["index"]], "the page no longer wants what the file has told"
        assert kept["status"]["bought"] == 1 and kept["status"]["people"] == 1

    assert beside(capsys, monkeypatch, work, photos, *CLASSES, "--no-train")[0] == 130
    (event,) = events(tmp_path / "runs" / "label" / "photos")
    assert (event["annotator"], event["source"], event["label"]) == ("bo", "file", "dog")


def test_the_page_is_up_without_pytorch(photos, tmp_path):
    code = (
        "import sys, webbrowser, _thread, dal.cli.main as cli\n"
        "webbrowser.open = lambda address: _thread.interrupt_main()\n"
        "try: cli.main(['label', 'photos', '--classes', 'cat,dog', '--no-train', '--open'])\n"
        "except SystemExit as end: print(end.code)\n"
        "print(sorted({'torch', 'torchvision', 'pandas', 'lightning', 'pytorch_lightning', 'hydra', 'omegaconf', "
        "'matplotlib', 'sklearn', 'scipy'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout.splitlines()[-2:] == ["130", "[]"], done.stdout + done.stderr


def test_settings_that_the_trainer_refuses_end_the_page_and_can_be_corrected(photos, tmp_path, capsys, monkeypatch):
    """The trainer is a process of the test that ends at once, because PyTorch takes seconds to load."""
    end_trainer(monkeypatch, "print('Error: model.lr: expected a number above 0, got -1.'); raise SystemExit(2)")
    status, _, errors = call(capsys, "label", photos, *CLASSES, "model.lr=-1")
    assert (status, errors) == (2, "Error: model.lr: expected a number above 0, got -1.\n")
    assert not (tmp_path / "runs" / "label" / "photos" / "label.json").exists()
    status, output, _ = beside(capsys, monkeypatch, lambda client: None, photos, *CLASSES, "model.lr=0.1", "--no-train")
    assert status == 130, output


def test_settings_are_corrected_also_after_the_first_answers(photos, tmp_path, capsys, monkeypatch):
    assert beside(capsys, monkeypatch, lambda c: answer_all(c, 1), photos, *CLASSES, "model.lr=-1", "--no-train")[0]
    status, output, _ = beside(capsys, monkeypatch, lambda c: None, photos, *CLASSES, "model.lr=0.1", "--no-train")
    assert status == 130 and "photos: 1 answer is saved." in output
    start = json.loads((tmp_path / "runs" / "label" / "photos" / "label.json").read_text())
    assert "model.lr=0.1" in start["overrides"] and "model.lr=-1" not in start["overrides"]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import os; os.kill(os.getpid(), 9)", "SIGKILL ended it, as when the memory is full."),
        ("print('Error: no memory.'); raise SystemExit(1)", "no memory."),
        ("raise RuntimeError('odd')", "RuntimeError: odd."),
    ],
)
def test_the_page_goes_on_without_its_trainer_and_says_so(code, expected, photos, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(trainer_keeper, "PAUSES", (0.1,))
    end_trainer(monkeypatch, code)

    def work(client):
        processes.wait_for(lambda: client.post("status")[1]["trainer"]["phase"] == "stopped")
        error = client.post("status")[1]["trainer"]["error"]
        assert error.startswith(f"The trainer died: {expected} It died 2 times without a finished round and stays off.")
        assert len(answer_all(client, 2)) == 2

    status, output, _ = beside(capsys, monkeypatch, work, photos, *CLASSES)
    assert status == 130
    assert f"The trainer died: {expected} It starts again in 0.1 s. Answers are still saved.\n" in output
    assert output.count("The trainer died: ") == 2 and "The end of runs/label/photos/trainer.log:\n" in output


def end_trainer(monkeypatch, code):
    """Let dal label start this code in place of its trainer."""
    real = trainer_child.subprocess.Popen
    monkeypatch.setattr(
        trainer_child.subprocess, "Popen", lambda command, **options: real([sys.executable, "-c", code], **options)
    )


def test_a_killed_page_takes_its_trainer_along_and_the_next_one_trains_to_the_end(photos, tmp_path):
    run = tmp_path / "run"
    start = [photos, *CLASSES, *SMALL, f"run_dir={run}"]
    with Labeling(*start, cwd=tmp_path) as page:
        client = client_of(page.address())
        assert len(answer_all(client, 10)) == 10
        trainer = json.loads((run / "trainer.json").read_text())["pid"]
        page.send_signal(signal.SIGKILL)
        processes.wait_for(lambda: not Path(f"/proc/{trainer}").exists() or "Z" in state_of(trainer))
        page.wait()
    with Labeling(*start, cwd=tmp_path) as page:
        client = client_of(page.address())
        processes.wait_for(
            lambda: answer_all(client) == [] and "Done, because the label budget is spent." in page.output()[0]
        )
        page.send_signal(signal.SIGINT)
        assert page.wait() == 130, page.output()
    found = events(run)
    assert [event["seq"] for event in found] == list(range(1, len(found) + 1)) and len(found) >= 16
    assert len({event["index"] for event in found}) == len(found)
    assert json.loads((run / "rounds.jsonl").read_text().splitlines()[-1])["campaign_stopped"] == "budget"


def state_of(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"
