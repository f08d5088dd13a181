import os
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from dal.data import load
from dal.data.sets.mask_folder import MaskFolder
from dal.data.sources.folder import mask_files, pixel_cache
from dal.data.sources.folder.cached_masks import CachedMasks


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(pixel_cache, "_SETTLED_NS", 0)  # files of a user are older
    for number in range(8):
        draws = np.random.default_rng(number)
        write(tmp_path / "street" / "images" / f"{number}.png", draws.integers(0, 256, (6, 9, 3)))
        if number != 5:
            write(tmp_path / "street" / "masks" / f"{number}.png", draws.integers(0, 3, (6, 9)))
    return tmp_path / "street"


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


@pytest.fixture
def read(monkeypatch):
    """The masks that are read."""
    found = []
    whole = mask_files._read_pair

    def read_pair(pair, *rest):
        found.append(pair.mask)
        return whole(pair, *rest)

    monkeypatch.setattr(mask_files, "_read_pair", read_pair)
    return found


def start(root, classes=("a", "b", "c"), cache=True):
    folder = str(root.parent / "cache") if cache else None
    return load(MaskFolder(root=str(root), image_size=4, classes=list(classes), test_fraction=0.4, cache=folder))


@pytest.mark.filterwarnings("ignore:data.root")
def test_masks_come_from_the_cache_and_follow_their_files(root, read):
    start(root)
    read.clear()
    again, plain = start(root), start(root, cache=False)
    assert len(read) == 8  # those of the start without a cache
    assert again.fingerprint() == plain.fingerprint()
    places = range(len(plain.train))
    assert torch.equal(again.train.masks.batch(places), plain.train.masks.batch(places))

    write(root / "masks" / "1.png", np.ones((6, 9)))
    os.utime(root / "images" / "2.png")
    read.clear()
    changed = start(root)
    assert sorted(path.name for path in read) == ["1.png", "2.png"]
    assert changed.fingerprint() == start(root, cache=False).fingerprint() != plain.fingerprint()


@pytest.mark.filterwarnings("ignore:data.root")
def test_damaged_masks_are_never_returned(root):
    masks = start(root).train.masks.source
    assert isinstance(masks, CachedMasks)
    expected = masks.batch(range(8))
    (pixels,) = (path for path in masks._rows._cache.folder.glob("*.pixels") if path.stat().st_size == 7 * 16)
    content = bytearray(pixels.read_bytes())
    content[20] ^= 1
    pixels.write_bytes(content)
    fresh = pickle.loads(pickle.dumps(start(root).train.masks.source))
    with pytest.warns(UserWarning, match="is damaged"):
        assert torch.equal(fresh.batch(range(8)), expected)


@pytest.mark.filterwarnings("ignore:data.root")
def test_other_classes_read_the_masks_again(root, read):
    start(root)
    read.clear()
    start(root, classes=("a", "b", "c", "d"))
    assert len(read) == 7
