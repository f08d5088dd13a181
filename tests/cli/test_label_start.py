"""How `dal label` finds or starts its run folder."""

import json
import os

import pytest
from helpers.label_command import make_photos

from dal.cli.label_start import class_list, open_run, start_config, start_overrides
from dal.cli.label_trainer import _config as trainer_config
from dal.config.overrides import compose
from dal.errors import DalError
from dal.labeling.people.people_run import PeopleRun


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return make_photos(tmp_path / "photos", 8)


def refused(*arguments):
    with pytest.raises(DalError) as caught:
        open_run(*arguments)
    return str(caught.value)


def test_the_same_arguments_find_the_same_run(photos):
    first = open_run([str(photos), "seed=3"], "cat,dog")
    assert str(first.path) == "runs/label/photos" and first.classes == ["cat", "dog"] and len(first.ids) == 8
    start = (first.path / "label.json").read_bytes()
    for again in (
        open_run([str(photos), "seed=3"], "cat, dog"),
        open_run(["photos", "seed=3"], "cat,dog"),
        open_run([str(photos)], None),
        open_run([str(first.path)], None),
    ):
        assert again.path == first.path and again.setting("seed") == 3
    assert (first.path / "label.json").read_bytes() == start
    assert first.asked() and first.asked() == open_run(["photos"], None).asked()


def test_other_classes_are_refused_with_the_remedy(photos):
    open_run([str(photos)], "cat,dog")
    sentence = refused([str(photos)], "cat,dog,bird")
    assert "data.classes: expected ['cat','dog'], as at the start of the run" in sentence
    assert sentence.endswith("Change classes on its page.")
    assert open_run([str(photos), "run_dir=other"], "cat,dog,bird").classes == ["cat", "dog", "bird"]


def test_other_settings_are_refused_once_the_trainer_has_committed(photos):
    run = open_run([str(photos), "seed=1"], "cat,dog")
    (run.path / "state.json").write_text("{}")
    assert refused([str(photos), "seed=2"], "cat,dog").startswith("seed: expected 1, as at the start of the run")
    assert refused([str(photos)], "cat,dog").startswith("seed: expected 1, as at the start of the run")


@pytest.mark.parametrize(
    ("arguments", "classes", "expected"),
    [
        (["photos"], None, "--classes: expected the names of the classes, such as --classes cat,dog, got none."),
        (["photos"], "cat", "--classes: expected at least two names, separated by commas, got 'cat'."),
        (["photos"], "cat,=none", "--classes: expected printable names that do not begin with =, got '=none'."),
        (["photos"], "cat,do\x07g", "--classes: expected printable names"),
        (["photos"], "cat,cat", "cat"),
        (["photos"], "cat,${dog}", "--classes: expected names without ${, got '${dog}'."),
        (["photos", "seed=1", "empty"], "cat,dog", "dal label: expected one folder of images, or one run folder"),
        (["seed=1"], "cat,dog", "dal label: expected one folder of images, or one run folder, got 'none'."),
        (["missing"], "cat,dog", "missing"),
        (["photos/00-cat.png"], "cat,dog", "00-cat.png"),
        (["empty"], "cat,dog", "data.root: expected a folder tree with images, got none in 'empty'."),
        (["texts"], "cat,dog", "data.root: expected a folder tree with images, got none in 'texts' (skipped: "),
        (["photos", "run_dir=photos/run"], "cat,dog", "run_dir: expected a folder outside of the images in 'photos'"),
        (["photos", "run_dir=photos"], "cat,dog", "run_dir: 'photos' is not a run folder and not empty."),
        (["photos", "run_dir=texts"], "cat,dog", "run_dir: 'texts' is not a run folder and not empty."),
        (["photos", "data.root=x"], "cat,dog", "data.root: expected no value, because dal label sets it"),
        (["photos", "oracle.wait=false"], "cat,dog", "oracle.wait: expected no value, because dal label sets it"),
        (["photos", "campaign.bugdet=9"], "cat,dog", "budget"),
        (["photos", "no.such=9"], "cat,dog", "no"),
    ],
)
def test_bad_arguments_are_one_sentence_and_leave_no_run(arguments, classes, expected, photos, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("text")
    before = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert expected in refused(arguments, classes)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == before


@pytest.mark.parametrize("name", ["it's", 'a "b"', "a\\b", "[x]", "a=b", "ä ö", "true", "null", "7", "{a: b}"])
def test_class_names_reach_the_configuration_of_the_trainer(name, photos):
    classes = class_list(f"{name},other")
    overrides = start_overrides(photos, classes, ["campaign.budget=12"])
    config = compose(overrides)
    assert config["data"]["classes"] == [name, "other"]
    assert start_config(photos, classes, [])["data"]["classes"] == open_run([str(photos)], f"{name},other").classes
    assert config["data"]["root"] == str(photos) and config["campaign"]["budget"] == 12


def test_a_damaged_start_is_one_sentence(photos):
    run = open_run([str(photos)], "cat,dog")
    for text in ("", "{}", json.dumps({"overrides": "x", "config": {}}), "[1]"):
        (run.path / "label.json").write_text(text)
        assert "label.json" in refused([str(photos)], "cat,dog")
        with pytest.raises(DalError, match=r"label\.json"):
            open_run([str(run.path), "oracle.overlap=2"], None)


@pytest.mark.parametrize("code", ["acquisition={folder}/evil.py", "+trainer.logger={{_target_: evil.Logger}}"])
def test_settings_of_others_that_name_code_are_not_run_by_the_trainer(code, photos, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    own = open_run([str(photos)], "cat,dog")
    start = json.loads((own.path / "label.json").read_text())
    start["overrides"].append(code.format(folder=tmp_path))
    (own.path / "label.json").write_text(json.dumps(start))
    open_run([str(own.path), "oracle.overlap=2"], None)  # writes the file again, which makes nothing trusted
    with pytest.raises(DalError, match=r"run: expected settings without code of its own, because this machine has not"):
        trainer_config(own.path)
    assert not (tmp_path / "ran").exists()


def test_own_settings_that_name_code_are_run(photos, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    logger = "+trainer.logger={_target_: pytorch_lightning.loggers.CSVLogger, save_dir: logs}"
    run = open_run([str(photos), logger], "cat,dog")
    assert trainer_config(run.path)["trainer"]["logger"]["save_dir"] == "logs"


@pytest.mark.parametrize("change", [{"campaign": {"initial_size": "abc"}}, {"oracle": {"kind": ["people"]}}])
def test_settings_of_another_type_are_one_sentence(change, photos):
    run = open_run([str(photos)], "cat,dog")
    start = json.loads((run.path / "label.json").read_text())
    for section, values in change.items():
        start["config"][section] |= values
    (run.path / "label.json").write_text(json.dumps(start))
    with pytest.raises(DalError, match=r"initial_size|oracle=people"):
        open_run([str(run.path)], None).asked()


def test_links_out_of_the_folder_and_pipes_are_refused_before_a_file_is_opened(photos, tmp_path):
    run = open_run([str(photos)], "cat,dog")
    thesis = tmp_path / "thesis.txt"
    thesis.write_text("text")
    for name in (".answers.lock", "trainer.log", ".leases", "masks"):
        (run.path / name).symlink_to(thesis)
        with pytest.raises(DalError, match=rf"got '{name}', which leads out of it"):
            PeopleRun(run.path)
        if name == ".answers.lock":
            with pytest.raises(DalError, match="leads out"):
                run.answers.record({"kind": "label", "index": 0, "id": run.ids[0], "label": "cat", "annotator": "a"})
        (run.path / name).unlink()
    for name in (".page.json", "trainer.log", "masks/a.png"):
        (run.path / name).parent.mkdir(exist_ok=True)
        os.mkfifo(run.path / name)
        with pytest.raises(DalError, match="not a regular file"):
            PeopleRun(run.path)
        (run.path / name).unlink()
    assert thesis.read_text() == "text"
