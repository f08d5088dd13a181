"""A run's configuration once dal has changed: renamed keys, and options that are gone."""

import pytest

from dal.analysis import read_run
from dal.cli.rank import rank_command
from dal.cli.run import run_campaign
from dal.config.overrides import compose
from dal.errors import DalError
from dal.runs.folder import RunFolder
from dal.runs.saved_config import check_same_config, dump_config, flatten, load_config, read_config

OFF = {"training.rewind": 0.0, "training.replay": None, "campaign.grow_below": None}


def with_keys(config, keys):
    """A copy of the configuration with these dotted keys, each in a section that is there."""
    copy = {name: dict(value) if isinstance(value, dict) else value for name, value in config.items()}
    for key, value in keys.items():
        section, _, name = key.partition(".")
        copy[section][name] = value
    return copy


@pytest.fixture
def write(tmp_path):
    def write(keys):
        path = tmp_path / "x" / "config.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(dump_config(with_keys(compose(["seed=3"]), keys)))
        return path

    return write


def test_a_removed_option_that_is_off_is_left_out(write):
    path = write(OFF)
    assert load_config(path) == read_config(path) == compose(["seed=3"])
    check_same_config(path, compose(["seed=3"]))
    with pytest.raises(DalError, match=r"^seed: expected 3, as at the start of the run in .* got 4"):
        check_same_config(path, compose(["seed=4"]))


def test_a_section_of_removed_options_alone_goes_with_them(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("seed: 1\ntraining:\n  rewind: 0.0\n  replay: null\n")
    assert load_config(path) == {"seed": 1}


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("training.rewind", 0.3, "0.0"),
        ("training.replay", 0.0, "None"),
        ("campaign.grow_below", 0.0, "None"),
        ("training.warm_start", "auto", "scratch, continue or shrink_perturb"),
    ],
)
def test_a_removed_option_that_is_on_can_be_read_but_not_gone_on_with(write, key, value, expected):
    path = write({**OFF, key: value})
    message = (
        f"{key}: expected {expected}, because dal no longer has this option, got {value!r} in {str(path.parent)!r}. "
        "Use the dal version that created the run."
    )
    for go_on in (load_config, lambda path: check_same_config(path, compose(["seed=3"]))):
        with pytest.raises(DalError) as caught:
            go_on(path)
        assert str(caught.value) == message
    assert dict(flatten(read_config(path)))[key] == value


def test_a_run_of_the_version_with_the_options_goes_on_and_is_read(tmp_path, synthetic):
    settings = ["data.max_train=100", "training.min_updates=1", "training.max_updates=2", "campaign.budget=60"]
    config = compose([*settings, f"run_dir={tmp_path / 'run'}"])

    class CutError(Exception):
        pass

    real = RunFolder.commit_round

    def cut(self, row):
        real(self, row)
        raise CutError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFolder, "commit_round", cut)
        with pytest.raises(CutError):
            run_campaign(config)
    synthetic.as_before_digests(tmp_path / "run", facts={})
    old = dump_config(with_keys(config, OFF))
    (tmp_path / "run" / "config.yaml").write_text(old)
    assert not read_run(tmp_path / "run").finished
    rows = run_campaign(config)
    undisturbed = run_campaign(compose([*settings, f"run_dir={tmp_path / 'other'}"]))
    assert [row["test_loss"] for row in rows] == [row["test_loss"] for row in undisturbed] and len(rows) > 1
    run = read_run(tmp_path / "run")
    assert run.finished and run.config == config and (tmp_path / "run" / "config.yaml").read_text() == old
    assert rank_command(str(tmp_path / "run"), top=3).read_text().count("\n") == 4
    (tmp_path / "run" / "config.yaml").write_text(dump_config(with_keys(config, {"training.rewind": 0.3})))
    synthetic.as_before_digests(tmp_path / "run")
    assert read_run(tmp_path / "run").config["training"]["rewind"] == 0.3
    for go_on in (lambda: run_campaign(config), lambda: rank_command(str(tmp_path / "run"))):
        with pytest.raises(
            DalError, match=r"^training.rewind: expected 0.0, because dal no longer has this option, got 0.3"
        ):
            go_on()


def test_renamed_keys_are_read_under_their_new_names(tmp_path, monkeypatch):
    renamed = {"training.batch": "training.batch_size", "points.kind": "candidates.kind", "bills": "prices"}
    monkeypatch.setattr("dal.runs.saved_config.RENAMED", renamed)
    path = tmp_path / "config.yaml"
    path.write_text("seed: 1\ntraining: {batch: 8, patience: 5}\npoints: {kind: all}\nbills: {label: 0.1}\n")
    now = {
        "seed": 1,
        "training": {"patience": 5, "batch_size": 8},
        "candidates": {"kind": "all"},
        "prices": {"label": 0.1},
    }
    assert load_config(path) == read_config(path) == now
    check_same_config(path, now)
    with pytest.raises(DalError, match=r"^training.batch_size: expected 8, as at the start of the run in"):
        check_same_config(path, {**now, "training": {"patience": 5, "batch_size": 9}})


OLD_NAMES = {
    "candidates.embeddings": "candidates.features_file",
    "model.target_backbone": "model.final_backbone",
    "model.target_weights": "model.final_weights",
    "scoring.embeddings": "scoring.features_file",
    "scoring.target_inputs": "scoring.target_points",
}


@pytest.mark.parametrize(("old", "new"), OLD_NAMES.items())
def test_keys_of_runs_before_the_names_changed_are_todays(tmp_path, old, new):
    group, key = old.split(".")
    path = tmp_path / "config.yaml"
    path.write_text(f"{group}: {{{key}: mine}}\n")
    assert dict(flatten(load_config(path))) == dict(flatten(read_config(path))) == {new: "mine"}
    today = dict(flatten(compose([])))
    assert new in today and old not in today
    with pytest.warns(UserWarning, match=f"{old} is now called {new}"):
        assert dict(flatten(compose([f"{old}=mine"])))[new] == "mine"
