"""The settings that the library records: what a folder of any configuration is called, and what resumes."""

import math
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from helpers.own_modules import OwnModule
from torch import nn

from dal import ActiveLearner, run
from dal.acquisition import Margin, PowerBALD, Random
from dal.analysis import read_run
from dal.analysis.grouping import group_runs
from dal.errors import DalError
from dal.labeling import DatasetOracle
from dal.models import adapt
from dal.reports.overview import report
from dal.runs import Records, RunFolder
from dal.runs.settings import check_same_settings, with_settings
from dal.stopping import CampaignConfig
from dal.training import TrainingConfig

QUICK = TrainingConfig(batch_size=16, min_updates=1, max_updates=2, monitor="none")
SIZES = CampaignConfig(initial_size=10, query_size=10, budget=20)


@pytest.fixture
def go(data, test_data, new_model):
    def go(records, campaign=SIZES, acquisition=None, tested=True, **options):
        options = {"training": QUICK, "seed": 1} | options
        learner = ActiveLearner(new_model, data, acquisition or Margin(), **options)
        try:
            return run(learner, DatasetOracle(data), campaign, test=test_data if tested else None, records=records)
        finally:
            if isinstance(records, RunFolder):
                records.close()

    return go


def folder_of(path, data, config=None):
    return RunFolder(path, config or {}, data.fingerprint())


def test_a_run_of_the_library_is_reported_whatever_its_configuration(tmp_path, data, go, synthetic):
    synthetic.write_run(tmp_path / "runs/other", [0.5, 0.6])
    configs = {"a": {"seed": 1, "note": "mine"}, "b": {}, "c": {"data": "toys", "campaign": "first try"}}
    for name, config in configs.items():
        go(folder_of(tmp_path / "runs" / name, data, config))
        found = read_run(tmp_path / "runs" / name)
        assert (found.data, found.label, found.seed) == ("toys" if name == "c" else "toy", "margin", 1)
    report([tmp_path / "runs"])
    summary = pd.read_csv(tmp_path / "runs/summary.csv")
    assert sorted(summary["data"]) == ["digits", "toy", "toy", "toys"]


def test_a_run_without_a_test_set_is_reported_with_the_others(tmp_path, data, go, synthetic, capsys):
    go(folder_of(tmp_path / "mine", data), tested=False)
    synthetic.write_run(tmp_path / "other", [0.5, 0.6])
    report([tmp_path])
    assert sorted(pd.read_csv(tmp_path / "summary.csv")["data"]) == ["digits", "toy"]
    report([tmp_path / "mine"])
    assert "accuracy is not known" in " ".join(capsys.readouterr().out.split())


def test_a_folder_without_recorded_settings_has_the_name_of_the_folder():
    found = with_settings({"seed": 1}, {}, Path("runs/mine"))
    assert (found["data"], found["acquisition"]) == ({"name": "mine"}, {"name": "unknown"})
    whole = {"seed": 2, "data": {"name": "a", "x": 1}, "acquisition": {"name": "b"}, "campaign": {"budget": 3}}
    assert with_settings(whole, {}, Path("mine")) == whole, "the command line writes everything"
    recorded = {"seed": 5, "data": {"name": "z"}, "acquisition": {"name": "y"}}
    assert with_settings(whole, recorded, Path("mine")) == whole


CHANGES = {
    "campaign.budget: expected 20, as .* started with, got 30.": {"campaign": replace(SIZES, budget=30)},
    "acquisition.name: expected 'margin', as .* started with, got 'random'.": {"acquisition": Random()},
    "seed: expected 1, as .* started with, got 2.": {"seed": 2},
    "training.max_updates: expected 2, as .* got 3.": {"training": replace(QUICK, max_updates=3)},
}


@pytest.mark.parametrize("on_disk", [True, False], ids=["folder", "memory"])
def test_a_changed_setting_is_refused_and_nothing_changes(tmp_path, data, go, on_disk):
    memory = Records()
    open_records = (lambda: folder_of(tmp_path / "run", data)) if on_disk else (lambda: memory)
    rows = go(open_records())
    before = (tmp_path / "run/state.json").read_bytes() if on_disk else None
    for sentence, change in CHANGES.items():
        with pytest.raises(DalError, match=f"^{sentence} Choose "):
            go(open_records(), **change)
    assert before is None or (tmp_path / "run/state.json").read_bytes() == before
    assert go(open_records()) == rows, "the same call still returns the finished campaign"


def test_a_parameter_of_the_function_is_a_setting_and_a_size_of_batches_is_not():
    old = {"acquisition": {"name": "power_bald", "beta": 1.0}, "training": {"num_workers": 0}}
    check_same_settings(old, old | {"training": {"num_workers": 4}, "new": {"x": 1}}, None)
    with pytest.raises(DalError, match=r"^acquisition.beta: expected 1.0, as these records started with, got 2.0\. "):
        check_same_settings(old, {"acquisition": {"name": "power_bald", "beta": 2.0}}, None)
    assert PowerBALD().name == "power_bald"


def test_before_the_first_round_a_changed_setting_starts_over(tmp_path, data, go):
    class Stopped(RunFolder):
        def commit_round(self, row):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(Stopped(tmp_path, {}, data.fingerprint()))
    changed = replace(SIZES, initial_size=5, budget=15)
    rows = go(folder_of(tmp_path, data, {}), campaign=changed)
    assert [row["num_labeled"] for row in rows] == [5, 15]
    assert len((tmp_path / "selections.csv").read_text().splitlines()) == 16
    assert go(folder_of(tmp_path, data, {}), campaign=changed) == rows


def test_reports_tell_runs_of_two_networks_apart(tmp_path, data, test_data, new_model):
    for name, width in (("narrow", 4), ("wide", 8)):
        folder = folder_of(tmp_path / name, data)
        flat = math.prod(data.image_shape)
        net = nn.Sequential(nn.Flatten(), nn.Linear(flat, width), nn.ReLU(), nn.Linear(width, data.num_classes))
        learner = ActiveLearner(adapt(OwnModule(net), head="net.3"), data, Margin(), training=QUICK, seed=1)
        run(learner, DatasetOracle(data), SIZES, test=test_data, records=folder)
        folder.close()
    groups = group_runs([read_run(tmp_path / name) for name in ("narrow", "wide")])
    assert len(groups) == 2 and all("parameters" in dict(group.all_settings) for group in groups)


def test_true_copies_are_refused_with_what_to_do(tmp_path, data, go):
    for name in ("a", "b"):
        go(folder_of(tmp_path / name, data))
    with pytest.raises(DalError, match="Leave one of them out, or pass RunFolder a configuration that"):
        group_runs([read_run(tmp_path / name) for name in ("a", "b")])


def test_a_module_that_gained_layers_resumes():
    check_same_settings({"model": {"class": "A", "parameters": 1}}, {"model": {"class": "A", "parameters": 9}}, None)
