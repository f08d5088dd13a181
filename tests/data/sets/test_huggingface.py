import io
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from dal.data import load
from dal.data.sets.huggingface import HuggingFace
from dal.data.sources.folder.decoding import decode
from dal.errors import DalError

datasets = pytest.importorskip("datasets")

COLORS = [(10, 20, 30), (200, 0, 0), (0, 200, 0), (0, 0, 200), (90, 90, 90), (250, 250, 0)]


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


def table(labels, kind=None, image="image", label="label"):
    """Images of one color each, which survive every resize."""
    features = datasets.Features({image: datasets.Image(), label: kind or datasets.ClassLabel(names=["cat", "dog"])})
    images = [Image.new("RGB", (20 + place, 20), COLORS[place]) for place in range(len(labels))]
    return datasets.Dataset.from_dict({image: images, label: labels}, features=features)


def same(data, labels):
    expected = torch.tensor(COLORS[: len(labels)], dtype=torch.uint8)
    assert torch.equal(data.source.batch(range(len(data)))[:, :, 5, 5], expected)
    assert data.labels.tolist() == labels


@pytest.mark.parametrize("in_memory", [None, False])
def test_a_folder_of_save_to_disk(tmp_path, in_memory):
    both = datasets.DatasetDict({"train": table([0, 1, 1, 0]), "validation": table([1, 0])})
    both.save_to_disk(str(tmp_path / "pets"))
    train, test = load(HuggingFace(path=str(tmp_path / "pets"), test_split="validation", in_memory=in_memory))
    same(train, [0, 1, 1, 0])
    same(test, [1, 0])
    assert list(train.classes) == ["cat", "dog"] and train.image_shape == (3, 64, 64) and train.name == "pets"
    assert train.ids[0] == "train-000000" and test.ids[1] == "test-000001"
    assert "Flip" not in repr(train.augmentation)


def test_parquet_and_arrow_files_and_a_folder_of_parquet(tmp_path):
    table([0, 1, 1, 0, 1, 0]).to_parquet(str(tmp_path / "data" / "train-0.parquet"))
    table([0, 1, 1, 0, 1, 0]).save_to_disk(str(tmp_path / "one"))
    arrow = next((tmp_path / "one").glob("*.arrow"))
    for path in (tmp_path / "data" / "train-0.parquet", tmp_path / "data", arrow, tmp_path / "one"):
        train, test = load(HuggingFace(path=str(path), test_split=None, test_fraction=0.4))
        assert sorted(train.ids + test.ids) == [f"train-{place:06d}" for place in range(6)]
        for data in (train, test):
            places = [int(name[-1]) for name in data.ids]
            assert data.labels.tolist() == [[0, 1, 1, 0, 1, 0][place] for place in places]
            colors = torch.tensor([COLORS[place] for place in places], dtype=torch.uint8)
            assert torch.equal(data.source.batch(range(len(data)))[:, :, 5, 5], colors)


def test_texts_numbers_and_missing_labels(tmp_path):
    for kind, labels, classes, expected in (
        ("string", ["dog", None, "ant"], ["ant", "dog"], [1, -1, 0]),
        ("large_string", ["cafe\u0301", "", "  ", "ant", "caf\u00e9"], ["ant", "caf\u00e9"], [1, -1, -1, 0, 1]),
        ("bool", [True, False, None], ["0", "1"], [1, 0, -1]),
        ("int64", [2, None, 0, 1], ["0", "1", "2"], [2, -1, 0, 1]),
        ("float64", [1.0, None, 0.0, float("nan")], ["0", "1"], [1, -1, 0, -1]),
        ("int64", [-1, 1, 0], ["0", "1"], [-1, 1, 0]),
        (None, [1, -1, 0], ["cat", "dog"], [1, -1, 0]),
    ):
        path = tmp_path / f"{kind}-{len(labels)}"
        pair = datasets.DatasetDict(
            {"train": table(labels, kind and datasets.Value(kind), "picture", "species"),
             "test": table(labels[:1], kind and datasets.Value(kind), "picture", "species")}
        )  # fmt: skip
        pair.save_to_disk(str(path))
        train, test = load(HuggingFace(path=str(path), image="picture", label="species"))
        assert list(train.classes) == classes and train.labels.tolist() == expected
        assert test.labels.tolist() == expected[:1]


@pytest.mark.parametrize("as_files", [True, False])
def test_encoded_images_have_the_pixels_of_a_folder(tmp_path, as_files):
    waves = np.random.default_rng(0).integers(0, 255, (9, 8, 3), dtype=np.uint8)
    Image.fromarray(waves).resize((300, 320)).save(tmp_path / "a.jpg", quality=95)
    Image.fromarray(waves).save(tmp_path / "b.tga")
    gray = Image.fromarray(waves[:8, :, 0] // 86 * 85)
    gray.quantize(4).save(tmp_path / "c.png", bits=2, transparency=1)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(waves).save(tmp_path / "d.tiff", exif=exif)
    paths = sorted(tmp_path.iterdir())
    images = [str(path) if as_files else {"bytes": path.read_bytes(), "path": None} for path in paths]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    rows = datasets.Dataset.from_dict({"image": images, "label": [0, 1, 0, 1]}, features=features)
    rows.save_to_disk(str(tmp_path / "set"))
    train, _ = load(HuggingFace(path=str(tmp_path / "set"), test_split=None, test_fraction=0.0, image_size=8))
    assert torch.equal(train.source.batch(range(4)), torch.stack([decode(path, 8) for path in paths]))


def test_an_image_of_too_many_pixels_is_refused(tmp_path, monkeypatch):
    table([0, 1]).save_to_disk(str(tmp_path))
    monkeypatch.setattr("dal.data.sources.folder.decoding._MAX_PIXELS", 20 * 20)
    with pytest.raises(DalError, match=r"^image 1: .* 21 x 20 pixels are more than the limit of 400; make it smaller"):
        load(HuggingFace(path=str(tmp_path), test_split=None, test_fraction=0.0))


def encoded(place):
    Image.new("RGB", (20, 20), COLORS[place]).save(file := io.BytesIO(), "PNG")
    return file.getvalue()


BYTES = datasets.Value("binary")


@pytest.mark.parametrize(
    ("kind", "wrap"),
    [
        (BYTES, lambda value: value),
        ({"bytes": BYTES, "path": datasets.Value("string")}, lambda value: {"bytes": value, "path": None}),
        (datasets.Image(decode=False), lambda value: {"bytes": value, "path": None}),
    ],
    ids=["binary", "struct", "not decoded"],
)
def test_bytes_of_image_files_are_images(tmp_path, kind, wrap):
    features = datasets.Features({"image": kind, "label": datasets.ClassLabel(names=["cat", "dog"])})
    rows = {"image": [wrap(encoded(place)) for place in range(3)], "label": [0, 1, 1]}
    datasets.DatasetDict({"train": datasets.Dataset.from_dict(rows, features=features)}).save_to_disk(str(tmp_path))
    train, _ = load(HuggingFace(path=str(tmp_path), test_split=None, test_fraction=0.0))
    same(train, [0, 1, 1])


@pytest.mark.parametrize("empty", [None, {"bytes": None, "path": None}])
def test_rows_without_an_image_are_counted(tmp_path, empty):
    kind = {"bytes": BYTES, "path": datasets.Value("string")}
    features = datasets.Features({"image": kind, "label": datasets.ClassLabel(names=["cat", "dog"])})
    rows = {"image": [{"bytes": encoded(0), "path": None}, empty, empty], "label": [0, 1, 1]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(tmp_path))
    with pytest.raises(DalError, match=r"^data.image: expected an image in each row .* none in 2 rows, such as row 1"):
        load(HuggingFace(path=str(tmp_path), test_split=None, in_memory=False))


def test_images_may_keep_their_size(tmp_path):
    rows = {"image": [Image.fromarray(np.full((9, 7), 60, dtype=np.uint8))] * 3, "label": [0, 1, 0]}
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    datasets.DatasetDict({"train": datasets.Dataset.from_dict(rows, features=features)}).save_to_disk(str(tmp_path))
    train, _ = load(HuggingFace(path=str(tmp_path), image_size=None, test_split=None, test_fraction=0.0))
    assert train.image_shape == (3, 9, 7) and train.source.batch([2]).unique().tolist() == [60]


def test_bad_input_is_one_sentence(tmp_path, monkeypatch):
    path = str(tmp_path / "pets")
    datasets.DatasetDict({"train": table([0, 1])}).save_to_disk(path)
    several = str(tmp_path / "several")
    datasets.DatasetDict({"train": table([[0], [0, 1]], datasets.Sequence(datasets.Value("int64")))}).save_to_disk(
        several
    )
    (tmp_path / "empty").mkdir()
    for options, message in (
        ({"path": ""}, "data.path: expected a folder, a file or a name on the hub, got ''"),
        ({"path": str(tmp_path / "empty")}, "data.path: expected a data set that the datasets library can read"),
        ({"path": path}, r"data.test_split: expected one of train, or null .* got 'test'\.$"),
        ({"path": path, "train_split": "all"}, r"data.train_split: expected one of train, got 'all'\.$"),
        ({"path": path, "test_split": None, "image": "img"}, "data.image: expected one of image, label, got 'img'"),
        (
            {"path": path, "test_split": None, "image": "label"},
            "data.image: expected a column of images, got label of",
        ),
        ({"path": several, "test_split": None}, "data.label: expected one class per image"),
        (
            {"path": path, "test_split": None, "test_fraction": 1.0},
            "data.test_fraction: expected a share from 0 to below 1",
        ),
        ({"path": path, "test_split": None, "image_size": 0}, "data.image_size: expected at least 1, or null, got 0"),
    ):
        with pytest.raises(DalError, match="^" + message):
            load(HuggingFace(**options))
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DalError, match=r"^data: expected the package datasets, got none\. Run pip install datasets\.$"):
        load(HuggingFace(path=path))


@pytest.mark.parametrize(
    ("labels", "kind", "message"),
    [
        (["cat", "cat\u200b"], "string", r"class names that look different, got 'cat' and 'cat\\u200b'"),
        (["cat", " cat"], "string", r"class names that look different, got ' cat' and 'cat'"),
        (["cat", "Cat"], "string", r"class names that differ in more than case .*\(or both in a ClassLabel\)"),
        ([3, 10], "int64", r"whole numbers from 0 without a gap \(or a ClassLabel, or texts\), got \[3, 10\]"),
        ([0.5, 1.0], "float32", "one class per image: a ClassLabel, texts or whole numbers"),
        ([0, 2], "int64", "whole numbers from 0 without a gap"),
        ([0, 1], datasets.ClassLabel(names=["cat", "cat\u200b"]), "class names that look different"),
        ([0, 1], datasets.ClassLabel(names=["cat", ""]), "class names that are not empty, got ''"),
    ],
)
def test_classes_that_cannot_be_told_apart_or_are_missing(tmp_path, labels, kind, message):
    kind = datasets.Value(kind) if isinstance(kind, str) else kind
    datasets.DatasetDict({"train": table(labels, kind)}).save_to_disk(str(tmp_path))
    with pytest.raises(DalError, match=f"^data.label: expected {message}"):
        load(HuggingFace(path=str(tmp_path), test_split=None, test_fraction=0.0))


def test_a_class_label_may_list_names_that_differ_in_case(tmp_path):
    letters = table([0, 1], datasets.ClassLabel(names=["a", "A"]))
    datasets.DatasetDict({"train": letters}).save_to_disk(str(tmp_path))
    train, _ = load(HuggingFace(path=str(tmp_path), test_split=None, test_fraction=0.0))
    assert list(train.classes) == ["a", "A"]


def test_one_split_is_not_both_and_both_have_the_same_classes(tmp_path):
    other = table([0, 1], datasets.ClassLabel(names=["dog", "cat"]))
    datasets.DatasetDict({"train": table([0, 1]), "test": other}).save_to_disk(str(tmp_path))
    with pytest.raises(DalError, match=r"^data.test_split: expected another split than data.train_split.* got 'train'"):
        load(HuggingFace(path=str(tmp_path), test_split="train"))
    with pytest.raises(DalError, match=r"^data.label: expected the same classes in both splits"):
        load(HuggingFace(path=str(tmp_path)))
    with pytest.raises(DalError, match=r"^data.label: expected one class per image.* got image of Image"):
        load(HuggingFace(path=str(tmp_path), label="image"))


@pytest.mark.parametrize("in_memory", [True, False])
def test_images_with_several_frames_are_named(tmp_path, in_memory):
    pages = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    pages[0].save(tmp_path / "two.gif", save_all=True, append_images=pages[1:], duration=9)
    pages[0].save(tmp_path / "one.gif")
    files = [str(tmp_path / name) for name in ("two.gif", "one.gif", "two.gif")]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    rows = datasets.Dataset.from_dict({"image": files, "label": [0, 1, 0]}, features=features)
    datasets.DatasetDict({"train": rows}).save_to_disk(str(tmp_path / "set"))
    options = {"test_split": None, "test_fraction": 0.0, "in_memory": in_memory}
    named = r"image 0, image 2\.$" if in_memory else r"image 0\.$"
    with pytest.warns(UserWarning, match=f"several frames or pages, of which only the first is used: {named}"):
        train, _ = load(HuggingFace(path=str(tmp_path / "set"), **options))
    assert len(train) == 3


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_test_split_of_the_same_rows_is_refused(tmp_path, in_memory):
    both = datasets.DatasetDict({"train": table([0, 1, 1]), "holdout": table([0, 1, 1])})
    both.save_to_disk(str(tmp_path))
    with pytest.raises(DalError, match=r"^data: expected other images in the test set .* the same 3 images in both"):
        load(HuggingFace(path=str(tmp_path), test_split="holdout", in_memory=in_memory))
