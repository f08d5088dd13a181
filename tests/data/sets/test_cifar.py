import pickle

import numpy as np
import pytest
import torch
import torchvision

from dal.data import load
from dal.data.sets.cifar10 import CIFAR10
from dal.data.sets.cifar100 import CIFAR100
from dal.errors import DalError

NAMES = {10: [f"kind {i}" for i in range(10)], 100: [f"kind {i:02d}" for i in range(100)]}
CONFIGS = {10: CIFAR10, 100: CIFAR100}


def rows(count, offset):
    """As on disk: a row an image, all red pixels, then all green, then all blue."""
    return ((np.arange(count * 3072) * 11 + offset) % 256).astype(np.uint8).reshape(count, 3072)


def write(root, num_classes):
    """Two images in each of CIFAR-10's five batches or CIFAR-100's one, three test images."""

    def dump(name, content):
        (folder / name).write_bytes(pickle.dumps(content))

    folder = root / ("cifar-10-batches-py" if num_classes == 10 else "cifar-100-python")
    folder.mkdir(parents=True)
    if num_classes == 10:
        for number in range(1, 6):
            dump(f"data_batch_{number}", {"data": rows(2, number), "labels": [number, 0]})
        dump("test_batch", {"data": rows(3, 99), "labels": [7, 8, 9]})
        dump("batches.meta", {"label_names": NAMES[10]})
    else:
        dump("train", {"data": rows(2, 1), "fine_labels": [1, 99], "coarse_labels": [0, 0]})
        dump("test", {"data": rows(3, 99), "fine_labels": [7, 8, 98], "coarse_labels": [0, 0, 0]})
        dump("meta", {"fine_label_names": NAMES[100], "coarse_label_names": ["coarse"]})


@pytest.fixture
def unchecked(monkeypatch):
    """Small files have other checksums than the real ones; that they exist is still asked."""
    from pathlib import Path

    monkeypatch.setattr(torchvision.datasets.cifar, "check_integrity", lambda path, md5=None: Path(path).is_file())


@pytest.mark.parametrize("num_classes", [10, 100])
def test_pixels_labels_ids_and_names(tmp_path, unchecked, num_classes):
    write(tmp_path, num_classes)
    train, test = load(CONFIGS[num_classes](root=str(tmp_path)))
    first = rows(2, 1)[1].reshape(3, 32, 32)
    assert torch.equal(train.source.batch([1])[0], torch.from_numpy(first))
    assert torch.equal(test.source.batch([2])[0], torch.from_numpy(rows(3, 99)[2].reshape(3, 32, 32)))
    assert list(train.ids)[:2] == ["train-00000", "train-00001"]
    assert list(test.ids) == ["test-00000", "test-00001", "test-00002"]
    assert list(train.classes) == list(test.classes) == NAMES[num_classes]
    if num_classes == 10:
        assert train.labels.tolist() == [1, 0, 2, 0, 3, 0, 4, 0, 5, 0]
        assert torch.equal(train.source.batch([8])[0], torch.from_numpy(rows(2, 5)[0].reshape(3, 32, 32)))
    else:
        assert train.labels.tolist() == [1, 99]
        assert test.labels.tolist() == [7, 8, 98]
    mean, std = torch.tensor(train.mean).view(3, 1, 1), torch.tensor(train.std).view(3, 1, 1)
    torch.testing.assert_close(train.plain([1])[0], (torch.from_numpy(first) / 255 - mean) / std)


def test_augmentation_crops_with_padding_4_and_flips(tmp_path, unchecked):
    write(tmp_path, 10)
    train, _ = load(CIFAR10(root=str(tmp_path)))
    padded = torch.nn.functional.pad(train.source.batch([0])[0], (4, 4, 4, 4))
    out = train.augmentation(train.source.batch([0] * 30), torch.Generator().manual_seed(0))
    windows = [padded[:, y : y + 32, x : x + 32] for y in range(9) for x in range(9)]
    places = {i for image in out for i, w in enumerate(windows) if torch.equal(w, image)}
    mirrored = {i for image in out for i, w in enumerate(windows) if torch.equal(w.flip(2), image)}
    assert len(places) > 5
    assert len(mirrored) > 5


@pytest.mark.parametrize("num_classes", [10, 100])
def test_missing_files_are_one_sentence(tmp_path, num_classes):
    with pytest.raises(DalError) as error:
        load(CONFIGS[num_classes](root=str(tmp_path)))
    message = str(error.value)
    assert message.startswith(f"data.root: expected the undamaged files of cifar-{num_classes}-")
    assert str(tmp_path) in message
    assert "download=true" in message


@pytest.mark.parametrize("num_classes", [10, 100])
def test_files_with_another_checksum_are_damaged(tmp_path, num_classes):
    write(tmp_path, num_classes)
    with pytest.raises(DalError, match="missing or damaged"):
        load(CONFIGS[num_classes](root=str(tmp_path)))


def test_a_download_that_fails_is_one_sentence(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("Network is\nunreachable")

    monkeypatch.setattr(torchvision.datasets.cifar, "download_and_extract_archive", fail)
    with pytest.raises(DalError) as error:
        load(CIFAR10(root=str(tmp_path), download=True))
    message = str(error.value)
    assert message.startswith("data.download: fetching cifar-10-batches-py from https://")
    assert "(Network is unreachable)" in message
    assert "\n" not in message
