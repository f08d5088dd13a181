"""`dal order`: the same labels in other orders, with results that survive an interrupt."""

import csv

import pytest
from helpers.other_threads import threads

from dal.cli import order as command
from dal.cli.main import main

SETTINGS = [
    *("campaign.initial_size=10", "campaign.query_size=10", "campaign.budget=30", "campaign.growth=1.0"),
    *("data.max_train=60", "training.min_updates=2", "training.max_updates=3"),
]


@pytest.fixture
def call(capsys):
    def call(*arguments):
        with pytest.raises(SystemExit) as end:
            main(list(map(str, arguments)))
        captured = capsys.readouterr()
        return end.value.code or 0, captured.out, captured.err

    return call


def rows(run):
    lines = (run / "order" / "order.csv").read_text().splitlines()
    return list(csv.DictReader(lines[1:]))


def test_orders_are_trained_once_and_an_interrupt_keeps_the_finished_ones(tmp_path, call, monkeypatch):
    run = tmp_path / "run"
    assert call("run", f"run_dir={run}", *SETTINGS)[0] == 0
    trained, train = [], command.train_in_order

    def third_is_interrupted(learner, labels, positions, test, at_once=False):
        if len(trained) == 3:
            raise KeyboardInterrupt
        trained.append(positions)
        return train(learner, labels, positions, test, at_once=at_once)

    monkeypatch.setattr(command, "train_in_order", third_is_interrupted)
    assert call("order", run, "--seeds", "1")[0] == 130
    before = rows(run)
    assert {row["order"] for row in before} == {"acquired", "random", "reversed"}
    assert all(sorted(positions) == list(range(30)) for positions in trained)
    assert trained[0] == list(range(30)) and trained[2] == trained[0][::-1]
    monkeypatch.setattr(command, "train_in_order", train)
    status, out, _ = call("order", run, "--seeds", "1")
    assert status == 0 and "4 trainings of all rounds, less than a minute and" in out
    assert "Whether the order matters cannot be told from 1 seed: at least 5 are needed." in out
    after = rows(run)
    assert [row for row in after if row in before] == before
    assert len([row for row in after if row["order"] == "at_once"]) == 1
    assert len([row for row in after if row["order"] == "easy_first"]) == 3
    status, out, _ = call("order", run, "--seeds", "1", "--orders", "reversed")
    assert status == 0 and "All trainings are there already." in out and "class by class" not in out
    with threads(2), pytest.warns(UserWarning, match=r"^cpu_threads: the run used 1, and this process uses 2, so"):
        call("order", run, "--seeds", "1", "--orders", "reversed")


def test_bad_input_is_one_sentence(tmp_path, call):
    assert call("order", tmp_path / "none")[0] == 2
    status, _, err = call("order", tmp_path, "--seeds", "0")
    assert status == 2 and err.endswith("--seeds: expected at least 1, got 0.\n")
    status, _, err = call("order", tmp_path, "--orders", "easyfirst")
    assert status == 2 and "--orders" in err and "easy_first" in err
