"""A folder that nobody has labeled: every listed image is a point, also one that cannot be decoded."""

import os

import pytest
import torch
from PIL import Image

from dal.config.overrides import compose
from dal.config.schema import build
from dal.data import load
from dal.data.sets.unlabeled_folder import UnlabeledFolder
from dal.data.sources.folder.listing import list_images
from dal.errors import DalError


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    (folder / "deep" / "er").mkdir(parents=True)
    for number, name in enumerate(["b.png", "a.png", "deep/c.png", "deep/er/d.png"]):
        Image.new("RGB", (8, 6), (50 * number, 0, 0)).save(folder / name)
    (folder / "broken.png").write_bytes(b"\x89PNG cut off")
    return folder


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.filterwarnings("ignore:.*cannot be decoded")
def test_points_are_the_listed_images_in_their_order(photos, in_memory):
    train, test = load(UnlabeledFolder(root=str(photos), classes=["cat", "dog"], image_size=4, in_memory=in_memory))
    assert (
        list(train.ids) == list_images(photos).files == ["a.png", "b.png", "broken.png", "deep/c.png", "deep/er/d.png"]
    )
    assert test is None and train.labels.tolist() == [-1] * 5 and train.classes == ["cat", "dog"]
    assert list(train.set_aside) == ["broken.png"] and train.unreadable == [2]
    red = train.source.batch([0, 2, 4])[:, 0].amax(dim=(1, 2)).tolist()
    assert red == [50, 0, 150], "an image that cannot be decoded is black"
    assert torch.equal(train.source.batch([2]), torch.zeros(1, 3, 4, 4, dtype=torch.uint8))


@pytest.mark.filterwarnings("ignore:.*cannot be decoded")
def test_the_fingerprint_follows_the_images(photos):
    def fingerprint():
        return load(UnlabeledFolder(root=str(photos), classes=["cat", "dog"], image_size=4)).fingerprint()

    before = fingerprint()
    assert fingerprint() == before
    Image.new("RGB", (8, 6), (9, 9, 9)).save(photos / "a.png")
    assert fingerprint() != before


def test_a_test_set_can_come_from_another_folder(photos, tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "test" / name).mkdir(parents=True)
        Image.new("RGB", (8, 6)).save(tmp_path / "test" / name / "1.png")
    (photos / "broken.png").unlink()
    splits = load(
        UnlabeledFolder(root=str(photos), classes=["cat", "dog"], image_size=4, test_root=str(tmp_path / "test"))
    )
    assert splits.test.labels.tolist() == [0, 1]


@pytest.mark.skipif(os.name != "posix", reason="names are text")
@pytest.mark.filterwarnings("ignore:.*cannot be decoded")
def test_a_name_that_is_not_utf8_is_a_point(photos):
    (photos / "b.png").rename(os.fsdecode(os.fsencode(photos) + b"/b\xff.png"))
    train = load(UnlabeledFolder(root=str(photos), classes=["cat", "dog"], image_size=4)).train
    assert len(train) == 5 and train.ids[train.unreadable[1]] == os.fsdecode(b"b\xff.png")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"classes": None}, r"^data\.classes: expected at least two class names"),
        ({"classes": ["cat"]}, r"^data\.classes: expected at least two class names"),
        ({"classes": ["cat", "cat"]}, r"^data\.classes: expected each class name once"),
        ({"classes": ["cat", "=none"]}, r"^data\.classes: expected names that do not begin with ="),
        ({"root": "no/such/folder"}, r"^data\.root: expected an existing folder"),
        ({"max_train": 3}, r"^data\.max_train: expected null with data=unlabeled_folder, got 3"),
        ({"copies": 2}, r"^data\.copies: expected 1 with data=unlabeled_folder, got 2"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(photos, settings, sentence):
    with pytest.raises(DalError, match=sentence):
        load(UnlabeledFolder(**{"root": str(photos), "classes": ["cat", "dog"], **settings}))


def test_without_people_it_is_refused(photos):
    overrides = ["experiment=none", "data=unlabeled_folder", f"data.root={photos}", "data.classes=[cat,dog]"]
    with pytest.raises(DalError, match=r"^data: expected a data set with labels, or oracle=people"):
        build(compose(overrides))
    assert build(compose([*overrides, "oracle=people", "oracle.wait=true"])).has_people
    with pytest.raises(DalError, match=r"^oracle\.noise: expected 0 with oracle=people, got 0\.2"):
        build(compose([*overrides, "oracle=people", "oracle.noise=0.2"]))
    with pytest.raises(DalError, match=r"^oracle: expected one of dataset, people, got 'peopel'"):
        build(compose([*overrides, "oracle=peopel"]))
