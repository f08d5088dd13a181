"""Images that another library decodes are part of the identity of the data, by the bytes of their files."""

import json

import numpy as np
import pandas
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, Subset, TensorDataset

from dal.data import from_dataset
from dal.data.image_sources import Marks, digest
from dal.data.images import ImageSplits
from dal.data.overlap import check_labels_of_copies, check_test_images
from dal.data.sets.huggingface import HuggingFace
from dal.data.sets.torchvision import Torchvision
from dal.data.sources import content_marks
from dal.data.sources.listed_content import listed_marks
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
        elif kind == "names without a suffix":
            self.table = pandas.DataFrame({"label": self.labels, "id": [name[:-4] for name in NAMES]})
        elif kind == "dictionaries":
            self.items = [{"label": "a", "path": str(folder / name)} for name in NAMES]
        elif kind == "by position":
            self.items = {place: (folder / name, 0) for place, name in enumerate(NAMES)}
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


KINDS = [
    "names and a folder",
    "paths and masks",
    "table",
    "names without a suffix",
    "dictionaries",
    "by position",
    "wrapped",
]


@pytest.mark.parametrize("kind", KINDS)
def test_files_are_found_in_the_lists_of_datasets(folder, kind):
    marks = listed_marks(Files(folder, kind), [4, 1])
    assert marks == Marks([digest([(folder / NAMES[place]).read_bytes()]) for place in (4, 1)], True)


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


class Lists(Dataset):
    """Images that are equal for each pair of points, with an attribute that lists something."""

    classes = ("a", "b")

    def __init__(self, listed=None, cache=None):
        self.listed, self.cache, self.targets = listed, cache, [0, 1] * 3

    def __len__(self):
        return 6

    def __getitem__(self, index):
        image = torch.full((1, 8, 8), 10 * index, dtype=torch.uint8)
        if self.cache is not None:
            self.cache[index] = image
        return image, self.targets[index]


class Answering(dict):
    __getattr__ = dict.get


class Unopened(Dataset):
    def __len__(self):
        raise RuntimeError("open() first")

    def __getattr__(self, name):
        raise RuntimeError("open() first")


class Lazy(list):
    def __getitem__(self, place):
        raise RuntimeError("open() first")


@pytest.mark.parametrize(
    "listed",
    [
        Answering(),
        Unopened(),
        Lazy(range(6)),
        torch.zeros(6, 1, 8, 8).to_sparse(),
        torch.zeros(6, 1, 8, 8, device="meta"),
        torch.zeros(6, 8, 8, dtype=torch.complex64).conj(),
        np.full((6, 2, 2), object()),
        [(np.full((2, 2), object()), 0)] * 6,
    ],
    ids=["any name", "not opened", "raises", "sparse", "meta", "complex", "objects", "rows of objects"],
)
def test_what_lists_no_images_leaves_those_that_were_looked_at(listed):
    marks = from_dataset(Lists(listed)).source.marks(range(6))
    assert marks.looks and len(set(marks.values)) == 6 and not marks.exact


@pytest.mark.parametrize("tensor", [torch.zeros(6, 1, 8, 8).to_sparse(), torch.zeros(6, 1, 8, 8, device="meta")])
def test_images_that_are_not_dense_are_one_sentence(tensor):
    with pytest.raises(DalError, match=r"^dataset\[0\]: expected a dense tensor of pixels"):
        from_dataset(TensorDataset(tensor, torch.zeros(6, dtype=torch.int64)), num_classes=2)


def test_points_that_share_a_file_are_not_copies(folder, recwarn):
    volume = [(str(folder / NAMES[0]), part) for part in range(6)]
    whole = from_dataset(Lists(volume))
    assert not whole.source.marks(range(6)).exact
    parts = [from_dataset(Subset(Lists(volume), part), num_classes=2) for part in ([0, 2, 4], [1, 3, 5])]
    check_labels_of_copies(whole)
    check_test_images(*parts)  # it refused the same three marks in both
    assert not [str(one.message) for one in recwarn]
    # An array that says something else about all points does not make them equal either.
    assert not from_dataset(Lists(np.zeros((6, 2, 2)))).source.marks(range(6)).exact


@pytest.mark.parametrize(
    "make",
    [lambda: torch.zeros(6, 1, 8, 8, dtype=torch.uint8), lambda: [(torch.zeros(8, 8), 0)] * 6, lambda: [None] * 6],
)
def test_a_cache_that_fills_is_not_a_list_of_images(make):
    dataset = Lists(cache=make())
    first = from_dataset(dataset)
    assert first.source.marks(range(6)).looks
    assert changed(first.fingerprint(), from_dataset(dataset).fingerprint()) == []


def test_a_column_that_is_no_struct():
    cells = [(place * 40).to_bytes(2, "little") for place in range(6)]
    for kind, known in (("binary", True), ("large_binary", True), ("string", False)):
        values = cells if known else ["a"] * 6
        table = datasets.Dataset.from_dict(
            {"image": values}, features=datasets.Features({"image": datasets.Value(kind)})
        )
        marks = content_marks.column_marks(table.select([1, 0]), "image", [0, 1])
        assert marks == (content_marks.Marks([digest([cells[1]]), digest([cells[0]])], exact=True) if known else None)
    table = datasets.Dataset.from_dict({"image": [[1, 2], [3, 4]]})
    assert content_marks.column_marks(table, "image", [0, 1]) is None


class Mapped(np.memmap):
    def tobytes(self, order="C"):
        raise AssertionError("all bytes are copied")


def test_blocks_of_a_memory_mapped_array_are_read_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(content_marks, "WHOLE_BYTES", 10)
    rows = Mapped(tmp_path / "rows", dtype=np.float32, mode="w+", shape=(2, 3, 100, 100))
    before = content_marks.array_marks(rows, [0, 1])
    copied = content_marks.array_marks(torch.from_numpy(np.array(rows)), [0, 1])
    assert copied == before and not before.exact
    rows[1, -1, -1, -1] = 1
    after = content_marks.array_marks(rows, [0, 1])
    assert after.values[0] == before.values[0] and after.values[1] != before.values[1]


def test_looks_of_whole_numbers_do_not_depend_on_the_order_of_sums():
    pixels = torch.arange(4, 68)
    pixels[-1] += 23  # the sum is 9 * 255, so the mean is in the middle of two of the 32 levels
    orders = [torch.randperm(64, generator=torch.Generator().manual_seed(seed)) for seed in range(20)]
    blocks = [pixels[order].to(torch.uint8).view(1, 8, 8).repeat(1, 4, 4) for order in orders]
    assert len({content_marks.coarse_mark(block) for block in blocks}) == 1
