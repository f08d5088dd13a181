from dataclasses import replace

import pytest
import torch

from dal.data import ImageData, TensorSource
from dal.data.image_sources import SubsetSource
from dal.data.masks import ClassUnits, TensorMasks
from dal.data.units import Units
from dal.data.variants.copies import noisy_copies
from dal.data.variants.subset import random_subset
from dal.errors import DalError
from dal.tasks import CLASSIFICATION, SEGMENTATION

PIXELS = torch.arange(4 * 3 * 4, dtype=torch.uint8).view(4, 3, 2, 2)
MASKS = torch.tensor([[[0, 1], [1, 255]], [[1, 1], [0, 0]], [[255, 255], [255, 255]], [[0, 0], [0, 1]]]).byte()


def data(**changes):
    given = {
        "name": "toy",
        "source": TensorSource(PIXELS),
        "ids": list("abcd"),
        "labels": torch.tensor([0, 0, -1, 0]),
        "classes": ["road", "sky"],
        "mean": [0.5],
        "std": [0.5],
        "task": SEGMENTATION,
        "masks": TensorMasks(MASKS),
    }
    return ImageData(**(given | changes))


def test_a_subset_keeps_the_masks_of_its_images():
    part = data().subset([3, 2, 0]).subset([2, 0])
    assert list(part.ids) == ["a", "d"]
    assert torch.equal(part.masks.batch([0, 1]), MASKS[[0, 3]])
    assert part.masks.digests([1]) == TensorMasks(MASKS).digests([3])
    drawn = random_subset(data(), 2)
    assert torch.equal(drawn.masks.batch([0, 1]), MASKS[[list("abcd").index(name) for name in drawn.ids]])


def test_copies_have_the_masks_of_their_images():
    twice = noisy_copies(data(), 2, noise=0.1)
    assert torch.equal(twice.masks.batch(range(8)), MASKS.repeat(2, 1, 1))


def test_the_fingerprint_covers_the_masks():
    changed = MASKS.clone()
    changed[1, 0, 0] = 0
    before, after = data().fingerprint(), data(masks=TensorMasks(changed)).fingerprint()
    assert [a == b for a, b in zip(before.split("-"), after.split("-"), strict=True)] == [True, False, True]
    old, new = (f.points()["train"]["labels"] for f in (before, after))
    assert [a == b for a, b in zip(old, new, strict=True)] == [True, False, True, True]
    assert old[2] == "unlabeled" and old[1].startswith("mask ")


def test_masks_without_digests_are_named_without_them():
    class Undigested(TensorMasks):
        digests = None

        def __getattribute__(self, name):
            if name == "digests":
                raise AttributeError(name)
            return super().__getattribute__(name)

    points = data(masks=SubsetSource(Undigested(MASKS), range(4))).fingerprint().points()
    assert points["train"]["labels"] == ["mask", "mask", "unlabeled", "mask"]


def test_images_without_any_mask_need_no_masks():
    unlabeled = data(masks=None, labels=torch.full((4,), -1))
    assert unlabeled.subset([1]).masks is None
    assert set(unlabeled.fingerprint().points()["train"]["labels"]) == {"unlabeled"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"masks": None}, "masks: expected the masks of images whose label is 0, got none."),
        ({"masks": TensorMasks(MASKS[:3])}, "masks: expected one for each of the 4 images, got 3."),
        ({"task": CLASSIFICATION}, "masks: expected none unless task=SEGMENTATION, got 'TensorMasks'."),
    ],
)
def test_masks_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(DalError) as error:
        replace(data(), **changes)
    assert str(error.value) == message


def test_masks_are_bytes_of_two_dimensions():
    with pytest.raises(DalError, match=r"^masks: expected a uint8 tensor \(N, H, W\), got torch.int64 \(4, 2, 2\)\.$"):
        TensorMasks(MASKS.long())


def test_augmented_pairs_take_the_masks_that_are_given():
    class Upside:
        def pair(self, images, masks, generator):
            return images.flip(2), masks.flip(1)

    hidden = torch.full((1, 2, 2), 255, dtype=torch.uint8)
    hidden[0, 0, 0] = 1
    images, masks = data(augmentation=Upside()).augmented_pairs([3], hidden, torch.Generator())
    torch.testing.assert_close(images, data().plain([3]).flip(2))
    assert masks.tolist() == [[[255, 255], [1, 255]]]


def test_units_of_only_ignored_pixels_are_found_as_by_loops():
    g = torch.Generator().manual_seed(0)
    masks = torch.randint(0, 3, (5, 7, 4), generator=g).byte()
    masks[torch.rand(masks.shape, generator=g) < 0.8] = 255
    read = []

    class Counted(TensorMasks):
        def batch(self, indices):
            read.extend(indices)
            return super().batch(indices)

    units = Units(7, 4, region_size=3)
    found = ClassUnits(Counted(masks), units, 3, list("abcde"))
    expected = [
        bool((masks[image, y0:y1, x0:x1] != 255).any()) for image in range(5) for y0, x0, y1, x1 in units.boxes.tolist()
    ]
    assert found(torch.tensor([29, 7, 8])).tolist() == [expected[29], expected[7], expected[8]]
    assert found(torch.arange(30)).tolist() == expected and not all(expected)
    assert sorted(read) == list(range(5))


def test_units_with_a_class_are_found_anew_when_people_have_answered():
    class Answered(TensorMasks):
        version = 0

    masks = torch.full((2, 2, 2), 255, dtype=torch.uint8)
    source = Answered(masks)
    found = ClassUnits(source, Units(2, 2, 1), 2, ["a", "b"])
    points = torch.arange(8)
    assert not found(points).any()
    source.masks[1, 0, 1] = 1
    source.version = 1
    assert found(points).nonzero().flatten().tolist() == [5]
    source.masks[1, 0, 1] = 255
    source.version = 2
    assert not found(points).any()
