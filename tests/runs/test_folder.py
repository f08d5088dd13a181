"""The run folder: what stands in it, what is refused, and that nothing a crash leaves behind counts."""

import csv
import json

import pandas as pd
import pytest
import torch
import yaml
from helpers.other_threads import threads

from dal import ActiveLearner, run
from dal.acquisition import Margin
from dal.errors import DalError
from dal.labeling.oracle import DatasetOracle
from dal.runs.folder import RunFolder
from dal.runs.layout import PEOPLE
from dal.runs.restored import read_run_folder
from dal.stopping import CampaignConfig

CONFIG = {"seed": 0, "run_dir": "x", "campaign": {"budget": 30, "query_size": 10}, "scoring": {"batch_size": 512}}


def campaign(folder, data, test_data, new_model, quick, **options):
    learner = ActiveLearner(new_model, data, Margin(), training=quick)
    settings = CampaignConfig(initial_size=10, query_size=10, budget=35, validation_size=5)
    try:
        return run(learner, DatasetOracle(data), settings, test=test_data, records=folder, **options)
    finally:
        folder.close()


@pytest.fixture
def finished(tmp_path, data, test_data, new_model, quick):
    folder = RunFolder(tmp_path / "run", CONFIG, data.fingerprint())
    campaign(folder, data, test_data, new_model, quick)
    return tmp_path / "run"


def test_everything_named_in_the_documentation_is_there(finished, data):
    rows = pd.read_json(finished / "rounds.jsonl", lines=True)
    assert rows["num_labeled"].tolist() == [10, 20, 30]
    expected = {
        "round",
        "labels_bought",
        "test_accuracy",
        "test_loss",
        "test_recall",
        "test_confusion_matrix",
        "updates",
    }
    expected |= {"samples_forward_train", "samples_backward_train", "samples_forward_score", "seconds_train"}
    expected |= {"seconds_score", "seconds_select", "seconds_test", "peak_memory_bytes", "training_stopped"}
    expected |= {"campaign_stopped", "val_accuracy", "num_validation"}
    assert expected <= set(rows.columns)
    assert rows["peak_memory_bytes"].min() > 1e7
    lines = list(csv.DictReader((finished / "selections.csv").open()))
    assert list(lines[0]) == ["round", "rank", "index", "id", "label", "score"]
    assert [line["round"] for line in lines] == ["0"] * 10 + ["1"] * 10 + ["2"] * 10
    assert all(data.ids[int(line["index"])] == line["id"] for line in lines)
    assert all(int(data.labels[int(line["index"])]) == int(line["label"]) for line in lines)
    assert lines[0]["score"] == "" and 0 <= float(lines[10]["score"]) <= 1
    assert yaml.safe_load((finished / "config.yaml").read_text()) == CONFIG
    machine = json.loads((finished / "environment.jsonl").read_text())
    assert (
        machine["torch"] == torch.__version__.partition("+")[0]
        and machine["cpu_cores"] >= 1
        and "git_commit" in machine
    )
    assert list(finished.glob("tensorboard/campaign/events*")) and list(finished.glob("tensorboard/round_002/events*"))
    weights = torch.load(finished / "weights_002.pt", weights_only=True)
    assert set(weights) >= {"head.weight", "head.bias"}
    assert not list(finished.glob(".*.new"))


def test_a_finished_run_is_finished(finished, data, test_data, new_model, quick):
    before = (finished / "rounds.jsonl").read_bytes()
    seen = []
    folder = RunFolder(finished, CONFIG, data.fingerprint())
    rows = campaign(folder, data, test_data, new_model, quick, on_round=seen.append)
    assert len(rows) == 3 and not seen
    assert (finished / "rounds.jsonl").read_bytes() == before


def test_a_run_that_goes_on_with_another_number_of_threads_says_so_once(tmp_path, data, recwarn):
    def start():
        RunFolder(tmp_path / "run", CONFIG, data.fingerprint()).close()
        return [str(warning.message) for warning in recwarn if "cpu_threads" in str(warning.message)]

    assert start() == start() == []
    with threads(3):
        told = start()
        assert told == [
            "cpu_threads: the run used 1, and this process uses 3, so weights can differ in the last bits. "
            "Set OMP_NUM_THREADS=1 for the same weights."
        ]
        assert start() == told, "the last start used as many"


def test_a_finished_run_trains_nothing_so_its_threads_do_not_matter(finished, data, recwarn):
    with threads(3):
        RunFolder(finished, CONFIG, data.fingerprint()).close()
    assert not [warning for warning in recwarn if "cpu_threads" in str(warning.message)]


def test_another_configuration_is_refused_with_the_first_key_that_differs(finished, data):
    files = {p: p.read_bytes() for p in finished.rglob("*") if p.is_file()}
    other = CONFIG | {"campaign": {"budget": 40, "query_size": 20}}
    with pytest.raises(DalError, match=r"campaign.budget: expected 30, as at the start of the run in .*, got 40"):
        RunFolder(finished, other, data.fingerprint())
    assert {p: p.read_bytes() for p in finished.rglob("*") if p.is_file()} == files
    RunFolder(finished, CONFIG | {"run_dir": "y", "scoring": {"batch_size": 7}}, data.fingerprint()).close()


def test_prices_may_change_unless_the_campaign_goes_by_them(tmp_path, data):
    def start(name, cost_optimum, label):
        config = CONFIG | {"campaign": {"cost_optimum": cost_optimum}, "prices": {"label": label}}
        folder = RunFolder(tmp_path / name, config, data.fingerprint())
        if not folder.rows:
            folder.keep_weights({})
            folder.commit_round({"campaign_stopped": None, "num_labeled": 0})
        folder.close()

    start("bill", cost_optimum=False, label=0.1)
    start("bill", cost_optimum=False, label=0.2)
    start("rule", cost_optimum=True, label=0.1)
    with pytest.raises(DalError, match=r"prices.label: expected 0.1, as at the start of the run in .*, got 0.2"):
        start("rule", cost_optimum=True, label=0.2)


def test_other_images_are_refused(finished, data):
    with pytest.raises(DalError, match=r"data: the run in .* started with other images"):
        RunFolder(finished, CONFIG, data.subset(range(80)).fingerprint())


def test_a_run_starts_in_a_folder_where_people_have_answered(tmp_path, data):
    for name in PEOPLE:
        (tmp_path / name).write_text("theirs")
    RunFolder(tmp_path, CONFIG, data.fingerprint()).close()
    assert all((tmp_path / name).read_text() == "theirs" for name in PEOPLE)


def test_a_folder_that_is_no_run_is_refused_and_left_alone(tmp_path, data):
    (tmp_path / "thesis.txt").write_text("dear")
    with pytest.raises(DalError, match=r"run_dir: .* is not a run folder but contains 'thesis.txt'"):
        RunFolder(tmp_path, CONFIG, data.fingerprint())
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(DalError, match=r"run_dir: '.*' is a file\. Choose another run_dir\."):
        RunFolder(tmp_path / "thesis.txt", CONFIG, data.fingerprint())


def test_two_processes_cannot_work_on_one_run(tmp_path, data):
    first = RunFolder(tmp_path / "run", CONFIG, data.fingerprint())
    with pytest.raises(DalError, match="is in use by another process"):
        RunFolder(tmp_path / "run", CONFIG, data.fingerprint())
    first.close()
    RunFolder(tmp_path / "run", CONFIG, data.fingerprint()).close()


def test_what_was_not_committed_is_cut_off(finished, data):
    journal, picks = finished / "rounds.jsonl", finished / "selections.csv"
    good = journal.read_bytes(), picks.read_bytes()
    with journal.open("a") as file:
        file.write('{"round": 3, "test_acc')
    with picks.open("a") as file:
        file.write("3,0,77,toy-0")
    (finished / "weights_003.pt").write_bytes(b"half")
    assert len(read_run_folder(finished, data.fingerprint()).rows) == 3
    RunFolder(finished, CONFIG, data.fingerprint()).close()
    assert (journal.read_bytes(), picks.read_bytes()) == good
    assert [p.name for p in finished.glob("weights*")] == ["weights_002.pt"]


def test_a_journal_that_lost_what_was_committed_is_said(finished, data):
    journal = finished / "rounds.jsonl"
    journal.write_bytes(journal.read_bytes()[:100])
    with pytest.raises(DalError, match=r"run: expected \d+ bytes of rounds.jsonl in .*run', got 100"):
        RunFolder(finished, CONFIG, data.fingerprint())


def test_weights_are_never_unpickled(finished, data, synthetic):
    import pickle

    (finished / "weights_002.pt").write_bytes(pickle.dumps(print))
    synthetic.as_before_digests(finished)
    with pytest.raises(DalError, match=r"weights_002.pt in .* is damaged \(torch.load\(\) raises UnpicklingError\)"):
        read_run_folder(finished, data.fingerprint())


def test_nan_is_null_in_the_journal(tmp_path, data):
    folder = RunFolder(tmp_path / "run", CONFIG, data.fingerprint())
    folder.commit_round({"campaign_stopped": None, "num_labeled": 1, "x": float("nan"), "y": [float("inf"), 1.0]})
    folder.close()
    assert json.loads((tmp_path / "run" / "rounds.jsonl").read_text())["y"] == [None, 1.0]


def test_a_folder_with_a_nul_character_in_its_name_is_one_sentence():
    with pytest.raises(DalError, match=r"^run_dir: expected a path without a NUL character, got 'a\\x00b'\.$"):
        RunFolder("a\0b", {}, "data")
