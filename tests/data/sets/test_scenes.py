from pathlib import Path

import numpy as np
import pytest
import torch

from dal.data import load
from dal.data.sets.fashion_mnist import DEBIAN_ROOT
from dal.data.sets.scene_drawing import SceneMaker, photograph_parts
from dal.data.sets.scenes import Scenes
from dal.errors import DalError

INSTALLED = Path(DEBIAN_ROOT).is_dir()


def maker(seed=0, size=32):
    block = np.full((1, 10, 6), 255, dtype=np.uint8)
    bar = np.full((1, 4, 12), 255, dtype=np.uint8)
    photographs = [np.full((80, 90, 3), 7, dtype=np.uint8)]
    return SceneMaker([block, bar], (0.6, 0.4), photographs, size, seed)


def test_the_mask_is_exactly_where_items_are():
    for scene in maker().scenes("train", 30):
        assert torch.equal((scene.image != 7).any(dim=0), scene.mask > 0)


def test_boxes_surround_what_is_visible_of_each_item():
    scenes = maker().scenes("train", 40)
    alone = [scene for scene in scenes if len(scene.boxes) == 1]
    assert len(alone) > 5 and {len(scene.boxes) for scene in scenes} >= {0, 1, 2}
    for scene in alone:
        x0, y0, x1, y1 = scene.boxes[0].int().tolist()
        inside = torch.zeros_like(scene.mask, dtype=torch.bool)
        inside[y0:y1, x0:x1] = True
        assert torch.equal(scene.mask > 0, inside)  # these items are rectangles
        assert set(scene.mask.unique().tolist()) - {0} == set(scene.classes.tolist())
    for scene in scenes:
        covered = torch.zeros_like(scene.mask, dtype=torch.bool)
        for x0, y0, x1, y1 in scene.boxes.int().tolist():
            covered[y0:y1, x0:x1] = True
        assert not bool(((scene.mask > 0) & ~covered).any())


def test_items_occlude_one_another_and_stay_visible():
    sizes = [int((scene.mask > 0).sum()) for scene in maker().scenes("train", 60) if len(scene.boxes) == 3]
    assert sizes and min(sizes) > 0


def test_a_scene_depends_on_seed_split_and_number_alone():
    few, many = maker().scenes("train", 3), maker().scenes("train", 9)
    assert all(torch.equal(a.image, b.image) for a, b in zip(few, many[:3], strict=True))
    assert not torch.equal(
        torch.stack([s.mask for s in few]), torch.stack([s.mask for s in maker(1).scenes("train", 3)])
    )
    assert not torch.equal(torch.stack([s.mask for s in few]), torch.stack([s.mask for s in maker().scenes("test", 3)]))


def test_test_scenes_use_other_parts_of_the_photographs():
    for train, test in zip(photograph_parts("train"), photograph_parts("test"), strict=True):
        assert train.shape[1] + test.shape[1] == 640 and train.shape[1] > test.shape[1] > 200


def test_digits_stand_in_for_fashion_mnist(tmp_path):
    with pytest.warns(
        UserWarning, match=r"^data: the items of the scenes are digits, without Fashion-MNIST \(data.root"
    ):
        train, test = load(Scenes(root=str(tmp_path), train_size=20, test_size=6))
    assert train.name == test.name == "scenes_digits"
    assert list(train.classes) == ["background", "0", "1", "4", "7"]
    assert train.fingerprint() == load(Scenes(items="digits", train_size=20, test_size=6)).train.fingerprint()
    assert train.masks.batch(range(20)).max() <= 4 and bool((train.labels == 0).all())
    assert list(test.ids)[:2] == ["test-00000", "test-00001"]
    images, masks = train.augmented_pairs([0, 1], train.masks.batch([0, 1]), torch.Generator().manual_seed(0))
    assert images.shape == (2, 3, 32, 32) and masks.shape == (2, 32, 32)


def test_fashion_mnist_is_demanded_or_missing(tmp_path):
    with pytest.raises(DalError, match=r"^data.root: expected the Fashion-MNIST file"):
        Scenes(items="fashion_mnist", root=str(tmp_path)).read()
    with pytest.raises(DalError, match=r"^data.items: expected one of digits, fashion_mnist, got 'shoes'\.$"):
        Scenes(items="shoes").read()


@pytest.mark.skipif(not INSTALLED, reason="Fashion-MNIST is not installed")
def test_the_sizes_of_scenes_of_clothing():
    train, test = load(Scenes(train_size=150, test_size=50))
    assert (train.name, len(train), len(test)) == ("scenes", 150, 50)
    assert list(train.classes) == ["background", "Pullover", "Trouser", "Sneaker", "Bag"]
    shares = train.masks.batch(range(150)).flatten().bincount(minlength=5) / (150 * 32 * 32)
    assert 0.8 < shares[0] < 0.88 and bool((shares > 0.01).all())
