import gzip
import struct
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
import torchvision

from dal.data import load
from dal.data.sets import fashion_mnist
from dal.data.sets.fashion_mnist import CLASSES, DEBIAN_ROOT, FashionMNIST
from dal.errors import DalError

ALL = [f"{prefix}-{kind}" for prefix in ("train", "t10k") for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")]


def pixels(count, offset):
    return ((torch.arange(count * 784) * 7 + offset) % 256).to(torch.uint8).view(count, 28, 28)


def write(folder, name, values, packed=False):
    folder.mkdir(parents=True, exist_ok=True)
    content = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.numpy().tobytes()
    if packed:
        (folder / f"{name}.gz").write_bytes(gzip.compress(content))
    else:
        (folder / name).write_bytes(content)


def write_all(folder, packed=False, offset=0):
    write(folder, ALL[0], pixels(5, offset), packed)
    write(folder, ALL[1], torch.tensor([9, 0, 3, 3, 1], dtype=torch.uint8), packed)
    write(folder, ALL[2], pixels(3, offset + 1), packed)
    write(folder, ALL[3], torch.tensor([2, 8, 9], dtype=torch.uint8), packed)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("below", [".", "FashionMNIST/raw", "somewhere/else/deep"])
def test_files_are_found_and_read(tmp_path, below, packed):
    write_all(tmp_path / below, packed)
    train, test = load(FashionMNIST(root=str(tmp_path)))
    assert torch.equal(train.source.batch(range(5)), pixels(5, 0).unsqueeze(1))
    assert torch.equal(test.source.batch([2]), pixels(3, 1)[2].view(1, 1, 28, 28))
    assert train.labels.tolist() == [9, 0, 3, 3, 1]
    assert test.labels.tolist() == [2, 8, 9]
    assert list(train.ids) == [f"train-0000{i}" for i in range(5)]
    assert list(test.ids) == [f"test-0000{i}" for i in range(3)]
    assert [train.classes[i] for i in (0, 9)] == ["T-shirt/top", "Ankle boot"]
    torch.testing.assert_close(test.plain([0]), (pixels(3, 1)[:1].unsqueeze(1) / 255 - 0.2860) / 0.3530)


def test_the_files_of_mnist_beside_it_are_not_taken_for_it(tmp_path):
    write_all(tmp_path / "EMNIST" / "raw", offset=100)
    with pytest.raises(DalError, match=r"^data.root: expected the Fashion-MNIST file train-images-idx3-ubyte"):
        load(FashionMNIST(root=str(tmp_path)))
    write_all(tmp_path / "FashionMNIST" / "raw")
    train, _ = load(FashionMNIST(root=str(tmp_path)))
    assert torch.equal(train.source.batch([0]), pixels(5, 0)[:1].unsqueeze(1))


def test_augmentation_flips(tmp_path):
    write_all(tmp_path)
    train, _ = load(FashionMNIST(root=str(tmp_path)))
    image = pixels(5, 0)[0]
    out = train.augmentation(train.source.batch([0] * 200), torch.Generator().manual_seed(0))
    flipped = [torch.equal(seen[0], image.flip(1)) for seen in out]
    assert all(torch.equal(seen[0], image.flip(1) if f else image) for seen, f in zip(out, flipped, strict=True))
    assert 60 < sum(flipped) < 140


def test_missing_files_say_how_to_get_them(tmp_path):
    with pytest.raises(DalError) as error:
        load(FashionMNIST(root=str(tmp_path)))
    message = str(error.value)
    assert message.startswith("data.root: expected the Fashion-MNIST file train-images-idx3-ubyte or")
    assert all(hint in message for hint in (str(tmp_path), "dataset-fashion-mnist", "download=true", DEBIAN_ROOT))


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        (ALL[0], torch.zeros(5, 27, 28, dtype=torch.uint8), "expected images of 28 x 28 pixels, got 27 x 28."),
        (ALL[1], torch.zeros(4, dtype=torch.uint8), "expected one label for each of the 5 images, got 4."),
        (ALL[3], torch.tensor([0, 10, 1], dtype=torch.uint8), "expected labels from 0 to 9, got 10."),
    ],
)
def test_files_that_do_not_fit(tmp_path, name, values, message):
    write_all(tmp_path)
    write(tmp_path, name, values)
    with pytest.raises(DalError) as error:
        load(FashionMNIST(root=str(tmp_path)))
    assert str(error.value) == f"{tmp_path / name}: {message}"


def test_only_the_default_root_falls_back_to_the_debian_package(tmp_path, monkeypatch):
    write_all(tmp_path / "debian", packed=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fashion_mnist, "DEBIAN_ROOT", str(tmp_path / "debian"))
    assert len(load(FashionMNIST()).train) == 5
    with pytest.raises(DalError, match=r"^data.root"):
        load(FashionMNIST(root="data/other"))
    (tmp_path / fashion_mnist.DEFAULT_ROOT).mkdir(parents=True)
    with pytest.raises(DalError, match=r"^data.root"):
        load(FashionMNIST())


def test_download_fetches_what_is_missing_and_only_then(tmp_path, monkeypatch):
    calls = []

    def fetch(root, download):
        calls.append(root)
        write_all(Path(root) / "FashionMNIST" / "raw", packed=True)

    monkeypatch.setattr(torchvision.datasets, "FashionMNIST", fetch)
    for _ in range(2):
        assert len(load(FashionMNIST(root=str(tmp_path / "new"), download=True)).test) == 3
    assert calls == [str(tmp_path / "new")]


@pytest.mark.parametrize("failure", [URLError("no network"), RuntimeError("Error downloading\n x"), OSError("full")])
def test_a_download_that_fails_is_one_sentence(tmp_path, monkeypatch, failure):
    def fetch(root, download):
        raise failure

    monkeypatch.setattr(torchvision.datasets, "FashionMNIST", fetch)
    with pytest.raises(DalError) as error:
        load(FashionMNIST(root=str(tmp_path), download=True))
    message = str(error.value)
    assert message.startswith(f"data.download: fetching Fashion-MNIST into {tmp_path} failed (")
    assert "dataset-fashion-mnist" in message
    assert "\n" not in message


@pytest.mark.skipif(not Path(DEBIAN_ROOT).is_dir(), reason="the Debian package dataset-fashion-mnist is not installed")
def test_the_real_files():
    train, test = load(FashionMNIST(root=DEBIAN_ROOT))
    assert train.labels.bincount().tolist() == [6000] * 10
    assert test.labels.bincount().tolist() == [1000] * 10
    pixels = train.source.batch(range(0, 60_000, 6)).float() / 255
    assert pixels.mean().item() == pytest.approx(fashion_mnist.MEAN, abs=2e-3)
    assert pixels.std().item() == pytest.approx(fashion_mnist.STD, abs=2e-3)
    assert CLASSES[int(train.labels[0])] == "Ankle boot"
