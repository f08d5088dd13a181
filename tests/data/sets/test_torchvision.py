import inspect
import struct

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from dal.data import load
from dal.data.sets.torchvision import SETS, Torchvision
from dal.errors import DalError


@pytest.fixture
def mnist(tmp_path):
    """Twelve training and six test images in MNIST's own files."""
    generator = np.random.default_rng(0)
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    made = {}
    for prefix, count in (("train", 12), ("t10k", 6)):
        images = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = np.arange(count, dtype=np.uint8) % 10
        head = struct.pack(">IIII", 2051, count, 28, 28)
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(head + images.tobytes())
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, count) + labels.tobytes())
        made[prefix] = images, labels
    return tmp_path, made


@pytest.fixture
def textures(tmp_path):
    """DTD in its own layout: color images of several sizes, labels under a private name."""
    folder = tmp_path / "dtd" / "dtd"
    names = {"train1": ["banded/a.jpg", "dotted/b.jpg", "banded/c.jpg"], "test1": ["dotted/d.jpg", "banded/e.jpg"]}
    (folder / "labels").mkdir(parents=True)
    for number, (split, files) in enumerate(names.items()):
        (folder / "labels" / f"{split}.txt").write_text("".join(f"{file}\n" for file in files))
        for place, file in enumerate(files):
            path = folder / "images" / file
            path.parent.mkdir(parents=True, exist_ok=True)
            color = (40 * place, 60 * number, 200)
            Image.new("RGB", (80 + 8 * place, 90), color).save(path, quality=95)
    return tmp_path


@pytest.mark.parametrize("name", SETS)
def test_torchvision_has_each_data_set_and_takes_its_arguments(name):
    known = SETS[name]
    factory, _, part = name.partition("/")
    for arguments in (known.train, known.test):
        keywords = {**arguments, **({"split": part} if part else {})}
        parameters = inspect.signature(getattr(torchvision.datasets, factory)).parameters
        passed_on = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        assert "root" in parameters and (passed_on or set(keywords) <= set(parameters))
        downloads = "download" in parameters or (passed_on and factory != "ImageNet")
        assert downloads == (factory not in ("FER2013", "ImageNet"))
    assert known.train != known.test


@pytest.mark.parametrize("in_memory", [None, False])
def test_gray_images_keep_their_pixels_and_labels(mnist, in_memory):
    root, made = mnist
    train, test = load(Torchvision(dataset="MNIST", root=str(root), in_memory=in_memory))
    for data, (images, labels) in zip((train, test), made.values(), strict=True):
        assert torch.equal(data.source.batch(range(len(data)))[:, 0], torch.from_numpy(images))
        assert data.labels.tolist() == labels.tolist()
    assert train.ids[:2] == ["train-00000", "train-00001"] and test.ids[0] == "test-00000"
    assert list(train.classes)[3] == "3 - three" and train.image_shape == (1, 28, 28)
    # A flipped digit is another digit or none.
    assert "Flip" not in repr(train.augmentation)


def test_color_images_of_several_sizes_are_cropped_and_resized(textures):
    train, test = load(Torchvision(dataset="DTD", root=str(textures), image_size=72))
    assert list(train.classes) == ["banded", "dotted"]
    assert train.labels.tolist() == [0, 1, 0] and test.labels.tolist() == [1, 0]
    assert train.image_shape == (3, 72, 72)
    colors = train.source.batch([0, 1, 2]).double().mean(dim=(2, 3))
    np.testing.assert_allclose(colors, [[0, 0, 200], [40, 0, 200], [80, 0, 200]], atol=4)
    assert "RandomResizedCrop" in repr(train.augmentation) and "HorizontalFlip" in repr(train.augmentation)


def test_labels_are_read_without_decoding_where_the_class_lists_them(textures, monkeypatch):
    opened = []
    original = torchvision.datasets.DTD.__getitem__
    monkeypatch.setattr(torchvision.datasets.DTD, "__getitem__", lambda s, i: opened.append(i) or original(s, i))
    load(Torchvision(dataset="DTD", root=str(textures), image_size=72, in_memory=False))
    assert len(opened) <= 4  # the first image of each split, for its shape


def test_splits_of_other_classes_are_refused(textures):
    (textures / "dtd" / "dtd" / "labels" / "test1.txt").write_text("dotted/d.jpg\n")
    with pytest.raises(DalError, match=r"^data.root: expected the 2 classes of the training set in the test set, got "):
        load(Torchvision(dataset="DTD", root=str(textures), image_size=72))


def test_several_sizes_need_an_image_size(textures):
    message = r"^data.image_size: expected a number, because images differ in size \(90 x 80, 90 x 88\)"
    with pytest.raises(DalError, match=message):
        load(Torchvision(dataset="DTD", root=str(textures)))


def test_an_image_that_cannot_be_decoded_is_one_sentence(textures):
    (textures / "dtd" / "dtd" / "images" / "dotted" / "b.jpg").write_bytes(b"not an image")
    with pytest.raises(DalError, match=r"^image 1: expected an image that can be decoded, got cannot identify"):
        load(Torchvision(dataset="DTD", root=str(textures), image_size=72))


@pytest.mark.parametrize("name", ["MNIST", "SVHN", "STL10", "Food101", "ImageNet", "FER2013", "GTSRB", "PCAM"])
def test_missing_files_are_one_sentence(tmp_path, name):
    with pytest.raises(DalError, match=rf"^data.root: expected the undamaged files of torchvision's {name} in "):
        load(Torchvision(dataset=name, root=str(tmp_path)))


def test_a_failed_download_is_one_sentence(tmp_path, monkeypatch):
    def offline(self, *args, **kwargs):
        raise OSError("<urlopen error [Errno -3] Temporary failure\n in name resolution>")

    monkeypatch.setattr(torchvision.datasets.SVHN, "download", offline)
    with pytest.raises(
        DalError, match=r"^data.download: fetching SVHN into .* failed \(<urlopen error .*\)\. Fetch it"
    ):
        load(Torchvision(dataset="SVHN", root=str(tmp_path), download=True))


def test_an_unknown_name_is_one_sentence():
    with pytest.raises(DalError, match=r"^data.dataset: expected one of CIFAR10, .* got 'SVHM' \(did you mean SVHN"):
        load(Torchvision(dataset="SVHM"))
