"""Images that another library decodes are part of the identity of the data, by the bytes of their files."""

import json

import numpy as np
import pandas
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, Subset, TensorDataset

from dal.data import from_dataset
from dal.data.images import ImageSplits
from dal.data.overlap import check_labels_of_copies, check_test_images
from dal.data.sets.huggingface import HuggingFace
from dal.data.sets.torchvision import Torchvision
from dal.data.sources import content_marks
from dal.errors import DalError
from dal.runs.files.same_data import changed
from dal.runs.folder import RunFolder

datasets = pytest.importorskip("datasets")
NAMES = [f"{place}.png" for place in range(6)]


class Files(Dataset):
    """Lists its files in one of the ways of people's own datasets."""

    def __init__(self, folder, kind):
        self.folder, self.labels = folder, [0, 1, 0, 1, 0, 1]
        if kind == "names and a folder":
            self.names = NAMES
        elif kind == "paths and masks":
            self.pairs = [(str(folder / name), 0) for name in NAMES]
            self.others = [folder / NAMES[0]] * 6
        elif kind == "table":
            self.table = pandas.DataFrame({"label": self.labels, "file": NAMES})
        elif kind == "wrapped":
            self.inner = Files(folder, "names and a folder")
        elif kind == "none":
            self.cache = [None] * 6

    def __len__(self):
        return 6

    def __getitem__(self, index):
        image = Image.open(self.folder / NAMES[index])
        item = torch.from_numpy(np.array(image)).permute(2, 0, 1), self.labels[index]
        if hasattr(self, "cache"):
            self.cache[index] = item[0]
        return item


def draw(folder, name, color):
    Image.new("RGB", (8, 8), color).save(folder / name)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "photos").mkdir()
    for place, name in enumerate(NAMES):
        draw(tmp_path / "photos", name, (40 * place, 0, 9))
    return tmp_path / "photos"


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


def files(kind):
    return lambda folder: from_dataset(Files(folder, kind), num_classes=2)


def subset(folder):
    return from_dataset(Subset(Files(folder, "names and a folder"), [5, 3, 0]), num_classes=2)


def tensors(folder):
    items = [Files(folder, "")[index] for index in range(6)]
    images, labels = torch.stack([image for image, _ in items]), torch.tensor([label for _, label in items])
    return from_dataset(TensorDataset(images, labels), num_classes=2)


def column(folder, *, embed):
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    cells = [str(folder / name) for name in NAMES]
    cells = [{"bytes": (folder / name).read_bytes(), "path": None} for name in NAMES] if embed else cells
    made = datasets.Dataset.from_dict({"image": cells, "label": [0, 1] * 3}, features=features)
    return made.select([1, 0, 2, 3, 4, 5])  # with a list of positions


def hugging_face(folder):
    found = column(folder, embed=True)
    target = folder.parent / "saved" / str(len(list(folder.parent.glob("saved/*"))))
    datasets.DatasetDict({"train": found, "test": found.select([0])}).save_to_disk(str(target))
    return HuggingFace(path=str(target), in_memory=False).read().train


def named_files(folder):
    return from_dataset(column(folder, embed=False), num_classes=2, image="image", label="label")


def given_column(folder):
    return from_dataset(column(folder, embed=True), num_classes=2, image="image", label="label")


@pytest.mark.parametrize("few_bytes", [False, True], ids=["whole", "sampled"])
@pytest.mark.parametrize(
    "data",
    [
        *(pytest.param(files(kind), id=kind) for kind in ("names and a folder", "paths and masks", "table", "wrapped")),
        pytest.param(files("none"), id="no list"),
        subset,
        tensors,
        hugging_face,
        given_column,
        named_files,
    ],
)
def test_an_image_that_changed_under_the_same_name_is_named(folder, tmp_path, data, few_bytes, monkeypatch):
    if few_bytes:
        monkeypatch.setattr(content_marks, "WHOLE_BYTES", 10)
    before = data(folder)
    run = RunFolder(tmp_path / "run", {}, ImageSplits(before, before).fingerprint())
    run.keep_weights({})
    run.commit_round({"campaign_stopped": None, "num_labeled": 0})
    run.close()
    recorded = json.loads((tmp_path / "run" / "state.json").read_text())["data"]
    assert data(folder).fingerprint() == before.fingerprint()

    draw(folder, NAMES[3], (1, 250, 9))
    after = data(folder)
    now = ImageSplits(after, after).fingerprint()
    assert changed(recorded, now) == ["other pixels under the same ids", "other pixels in the test set"]
    name = next(id for id in after.ids if "3" in id)
    with pytest.raises(DalError, match=rf"other pixels under the same ids \(1 changed: {name}\) and other pixels in"):
        RunFolder(tmp_path / "run", {}, now)
    # An older version recorded the first four parts.
    assert changed("-".join(recorded.split("-")[:4]), now) == []


def test_images_of_torchvision_that_stay_on_disk(tmp_path):
    folder = tmp_path / "dtd" / "dtd"
    for split in ("train1", "test1"):
        (folder / "labels").mkdir(parents=True, exist_ok=True)
        (folder / "labels" / f"{split}.txt").write_text("banded/a.jpg\ndotted/b.jpg\n")
    for name in ("banded/a.jpg", "dotted/b.jpg"):
        (folder / "images" / name).parent.mkdir(parents=True)
        draw(folder / "images", name, (9, 99, 0))
    config = Torchvision(dataset="DTD", root=str(tmp_path), image_size=8, in_memory=False)
    before = config.read().fingerprint()
    assert changed(before, config.read().fingerprint()) == []
    draw(folder / "images", "dotted/b.jpg", (99, 9, 0))
    both = ["other pixels under the same ids", "other pixels in the test set"]
    assert changed(before, config.read().fingerprint()) == both


def test_equal_files_are_found(folder):
    draw(folder, NAMES[3], (0, 0, 9))  # as the first one, which is in the other class
    train = from_dataset(Files(folder, "table"), num_classes=2)
    with pytest.warns(UserWarning) as caught:
        check_labels_of_copies(train)
        check_test_images(train, from_dataset(Subset(Files(folder, "table"), [0, 3]), num_classes=2), refuse=False)
    assert [str(one.message) for one in caught] == [
        "data: 1 of 6 images are copies of images with another label: 000000 (0) and 000003 (1).",
        "data: 2 of 2 test images are also training images, so test results are too good: "
        "000000 is 000000, 000003 is 000000. Labels differ for 1 of them.",
    ]
