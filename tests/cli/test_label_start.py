"""dal label finds its run again from the same arguments, and names a setting that differs."""

import pytest

from dal.cli.label_start import open_run
from dal.config.overrides import compose
from dal.errors import DalError
from dal.labeling.people.people_run import read_start
from dal.runs.files.points import write_points


@pytest.fixture
def start(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()

    def start(*settings, classes="cat,dog"):
        return open_run(["photos", *settings], classes)

    return start


def test_the_same_settings_in_another_order_open_the_same_run(start):
    first = start("data.image_size=32", "campaign.budget=50")
    again = start("campaign.budget=50", "data.image_size=32")
    assert first.path == again.path and again.setting("campaign.budget") == 50
    assert start(classes=None).path == first.path, "the run has its settings"


@pytest.mark.parametrize(
    ("settings", "classes", "start_of", "end_of"),
    [
        ([], "cat,dog", "data.image_size: expected 32, ", "dal label runs/label/photos."),
        (["data.image_size=64"], "cat,dog", "data.image_size: expected 32, ", "dal label runs/label/photos."),
        (["data.image_size=32", "seed=1"], "cat,dog", "seed: expected nothing, ", "dal label runs/label/photos."),
        (["data.image_size=32"], "cat,cow", "data.classes: expected ['cat','dog'], ", "Change classes on its page."),
    ],
)
def test_a_setting_that_differs_is_named_with_what_to_do(start, settings, classes, start_of, end_of):
    start("data.image_size=32")
    with pytest.raises(DalError) as caught:
        start(*settings, classes=classes)
    assert str(caught.value).startswith(start_of) and str(caught.value).endswith(end_of)


def test_images_that_appear_later_move_no_index(start, tmp_path, monkeypatch):
    run = start()
    (tmp_path / "photos" / "A.jpg").touch()
    assert start().files == ["A.jpg", "a.jpg"], "nobody has answered yet"
    run = start()
    run.answers.record({"kind": "label", "index": 1, "id": "a.jpg", "label": "dog", "annotator": "ana"})
    (tmp_path / "photos" / "0.jpg").touch()
    with pytest.raises(DalError, match="data: expected the images of the start of the run"):
        _ = start().files
    points = {"classes": ["cat", "dog"], "train": {"ids": ["A.jpg", "a.jpg"], "labels": ["", ""], "digests": None}}
    fingerprint = type("Fingerprint", (str,), {"points": lambda self: points})("x")
    digests = write_points(run.path, fingerprint)
    monkeypatch.setattr("dal.labeling.people.people_run.read_state", lambda path: {"digests": digests})
    (run.path / "state.json").touch()
    (tmp_path / "photos" / "a.jpg").unlink()
    assert start().files == start().ids == ["A.jpg", "a.jpg"], "a path that is gone keeps its index"


@pytest.mark.parametrize("name", ["baker's", "a\"b'c", "a\\", "a\\'b", "a\\b", "null", "<b>x</b>", "$5", "[x]", "é: 1"])
def test_the_page_and_the_trainer_read_the_same_names(start, name):
    run = start(classes=f"{name},dog")
    composed = compose(read_start(run.path)["overrides"])["data"]
    assert run.classes == list(composed["classes"]) == [name, "dog"]
    assert str(run.root) == composed["root"]


def test_a_name_that_the_settings_would_replace_is_refused(start):
    with pytest.raises(DalError, match=r"--classes: expected names without \$\{, got '\$\{x\}'."):
        start(classes="${x},dog")
