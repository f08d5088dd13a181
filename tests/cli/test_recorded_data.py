import numpy as np
import pytest
import torch
from PIL import Image

from dal.cli.recorded_data import recorded_training_set
from dal.data import load
from dal.data.sets.digits import Digits
from dal.data.sets.image_folder import ImageFolder
from dal.data.sources.folder import decoding
from dal.errors import DalError
from dal.runs.files.points import write_points


@pytest.fixture
def data(tmp_path):
    for number in range(12):
        path = tmp_path / "photos" / ("cat" if number % 2 else "dog") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)).save(path)
    Image.new("RGB", (6, 6)).save(tmp_path / "photos" / "unlabeled.png")
    return ImageFolder(root=str(tmp_path / "photos"), image_size=4, test_fraction=0.3)


@pytest.fixture
def recorded(tmp_path, data, monkeypatch):
    """Return the loaded training set, and a function that returns the recorded one."""
    splits = load(data)
    run = tmp_path / "run"
    run.mkdir()
    fingerprint = splits.fingerprint()
    state = {"data": str(fingerprint), "digests": write_points(run, fingerprint)}
    monkeypatch.setattr("dal.cli.recorded_data.read_state", lambda folder: state)
    return splits.train, lambda config=data: recorded_training_set(config, run)


def test_a_run_restores_its_training_set_without_decoding(recorded, monkeypatch):
    train, again = recorded
    with monkeypatch.context() as patch:
        patch.setattr(decoding, "_square", None)
        found = again()
    assert found.fingerprint() == train.fingerprint() and found.ids == train.ids
    assert torch.equal(found.labels, train.labels)
    assert torch.equal(found.plain([3, 0]), train.plain([3, 0]))


def test_an_image_that_changed_is_an_error_when_it_is_read(recorded, data, tmp_path):
    train, again = recorded
    Image.new("RGB", (6, 6), (1, 2, 3)).save(tmp_path / "photos" / train.ids[2])
    found = again()
    found.plain([0, 1])
    with pytest.raises(DalError, match="expected the image with which the run started, got another one"):
        found.plain([2])


def test_images_that_are_gone_and_other_data_sets_are_loaded_instead(recorded, tmp_path):
    train, again = recorded
    assert again(Digits()) is None
    (tmp_path / "photos" / train.ids[0]).unlink()
    assert again() is None
