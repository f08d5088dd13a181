"""dal label finds its run again from the same arguments, and names a setting that differs."""

import pytest

from dal.cli.label_start import open_run
from dal.errors import DalError
from dal.runs.files.committed import hash_file
from dal.runs.files.points import write_points
from dal.runs.files.state import write_state
from dal.runs.saved_config import dump_config


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
    (start("data.image_size=32").path / "state.json").write_text("{}")
    with pytest.raises(DalError) as caught:
        start(*settings, classes=classes)
    assert str(caught.value).startswith(start_of) and str(caught.value).endswith(end_of)


def test_images_that_appear_or_disappear_move_no_index(start, tmp_path):
    run = start()
    (tmp_path / "photos" / "A.jpg").touch()
    assert start().files == ["A.jpg", "a.jpg"], "nobody has answered yet"
    run = start()
    run.answers.record({"kind": "label", "index": 1, "id": "a.jpg", "label": "dog", "annotator": "ana"})
    (tmp_path / "photos" / "0.jpg").touch()
    assert start().files == ["A.jpg", "a.jpg"], "before the first commit"
    points = {"classes": ["cat", "dog"], "train": {"ids": ["A.jpg", "a.jpg"], "labels": ["", ""], "digests": None}}
    fingerprint = type("Fingerprint", (str,), {"points": lambda self: points})("x")
    digests = write_points(run.path, fingerprint)
    (run.path / "config.yaml").write_text(dump_config(run.config))
    digests["config.yaml"] = hash_file(run.path, "config.yaml")
    write_state(run.path, {"stage": "select", "rounds": 0, "bytes": {}, "data": "x", "digests": digests})
    (tmp_path / "photos" / "a.jpg").unlink()
    assert start().files == start().ids == ["A.jpg", "a.jpg"], "a path that is gone keeps its index"
    photos = tmp_path / "photos"
    assert start().changes() == [
        f"{photos}: 1 image of the run is gone or cannot be read (a.jpg). The run goes on without it.",
        f"{photos}: 1 new image is not part of this run (0.jpg). To label it, start another run with run_dir=FOLDER.",
    ]
