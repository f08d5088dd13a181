"""`dal run oracle=people` ends with status 3 while people think; `dal replay` tells whether a run is what it says."""

import json

import pytest
import torch
from helpers.labelers import Labelers

from dal.cli.main import main
from dal.config.overrides import compose
from dal.config.schema import build
from dal.data import load

SETTINGS = [
    *("campaign.initial_size=10", "campaign.query_size=10", "campaign.budget=25"),
    *("data.max_train=60", "training.min_updates=2", "training.max_updates=4"),
]


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    captured = capsys.readouterr()
    return end.value.code, captured.out, captured.err


def test_a_run_waits_goes_on_and_is_replayed(tmp_path, capsys):
    settings = SETTINGS
    run = ["run", "oracle=people", f"run_dir={tmp_path / 'run'}", *settings]
    status, out, err = call(capsys, *run)
    assert status == 3 and "Traceback" not in err
    folder = tmp_path / "run"
    assert f"run: waiting for 10 labels of round 0. Run `dal label {folder}`, or" in out
    data = load(build(compose(settings)).data).train
    labelers = Labelers(folder, data)
    for expected in (3, 3, 0):
        labelers.answer()
        status, out, err = call(capsys, *run)
        assert status == expected, err
    assert "dal replay" in out and "acquisition=random" not in out
    threads = torch.get_num_threads()
    torch.set_num_threads(2 if threads == 1 else 1)  # the replay uses as many as the run did
    status, out, _ = call(capsys, "replay", str(folder))
    torch.set_num_threads(threads)
    assert status == 0 and "Replayed 3 rounds: 25 asked points, 25 labels, the same weights." in out
    assert call(capsys, "rank", str(folder), "--top", "2")[0] == 0
    status, out, _ = call(capsys, "explain", str(folder), "--refit", "without=1", "--seeds", "2")
    assert status == 0 and "4 trainings on 25 labels with" in out and "Without the 10 labels of round 1, test" in out
    status, _, err = call(capsys, "replay", str(folder), "--to", "7")
    assert status == 2 and "--to: expected a finished round from 0 to 2, got 7." in err
    journal = folder / "answers.jsonl"
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    lines[12]["label"] = str((int(lines[12]["label"]) + 1) % 10)
    journal.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
    environment = folder / "environment.jsonl"
    last = json.loads(environment.read_text().splitlines()[-1])
    environment.write_text(json.dumps(last | {"torch": "2.5.0"}) + "\n[1\n")
    status, out, _ = call(capsys, "replay", str(folder))
    assert status == 1 and "The replay differs in line 14 of selections.csv: expected 1,2," in out
    assert out.rstrip().endswith(f"The run used torch 2.5.0 (now {last['torch']}), so numbers may round differently.")


def test_a_replay_of_a_simulation_is_refused(tmp_path, capsys):
    settings = SETTINGS
    assert call(capsys, "run", f"run_dir={tmp_path / 'run'}", "campaign.max_rounds=1", *settings)[0] == 0
    status, _, err = call(capsys, "replay", str(tmp_path / "run"))
    assert status == 2 and "run: expected a run with oracle=people, got oracle=dataset" in err
