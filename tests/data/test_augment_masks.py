import random

import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from dal.data.augment import Compose, HorizontalFlip, RandomCrop, RandomResizedCrop
from dal.data.augment_masks import TransformPair, augment_pair
from dal.errors import DalError


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def pairs(count=30, size=12):
    """Images whose three channels show the class number of each pixel."""
    masks = torch.randint(1, 5, (count, size, size), dtype=torch.uint8, generator=seeded(1))
    return masks[:, None].repeat(1, 3, 1, 1) * 10, masks


V2 = v2.Compose([v2.RandomCrop((12, 12), padding=3), v2.RandomHorizontalFlip(), v2.RandomVerticalFlip()])


@pytest.mark.parametrize(
    "augmentation",
    [RandomCrop(3), HorizontalFlip(), Compose([RandomCrop(2), HorizontalFlip()]), TransformPair(V2)],
    ids=["crop", "flip", "compose", "torchvision"],
)
def test_masks_move_with_their_images(augmentation):
    images, masks = pairs()
    moved, moved_masks = augment_pair(augmentation, images, masks, seeded())
    inside = moved_masks != 255
    assert not torch.equal(moved, images)
    assert torch.equal(moved[:, 0][inside], moved_masks[inside] * 10)
    assert bool((moved[:, 0][~inside] == 0).all())
    assert bool((~inside).any()) == (not isinstance(augmentation, HorizontalFlip))
    assert torch.equal(moved_masks, augment_pair(augmentation, images, masks, seeded())[1])


@pytest.mark.parametrize(
    "augmentation", [RandomCrop(2), HorizontalFlip(), RandomResizedCrop(), TransformPair(V2)], ids=lambda a: str(a)[:8]
)
def test_images_are_augmented_as_without_masks(augmentation):
    images, masks = pairs()
    assert torch.equal(augmentation(images, seeded(3)), augmentation.pair(images, masks, seeded(3))[0])


def test_a_resized_crop_takes_the_nearest_pixel_of_the_mask():
    masks = torch.zeros(40, 16, 16, dtype=torch.uint8)
    masks[:, :, 8:] = 255
    images = (masks == 255)[:, None].float()
    moved, moved_masks = RandomResizedCrop((0.3, 0.9)).pair(images, masks, seeded())
    assert set(moved_masks.unique().tolist()) == {0, 255}
    certain = (moved[:, 0] - 0.5).abs() > 0.01
    assert torch.equal((moved_masks == 255)[certain], (moved[:, 0] > 0.5)[certain])


def test_torchvision_transforms_draw_from_the_generator_alone():
    images, masks = pairs(count=8)
    torch.manual_seed(0)
    random.seed(0)
    before = torch.get_rng_state(), random.getstate()
    first = TransformPair(V2).pair(images, masks, seeded(5))
    after = torch.get_rng_state(), random.getstate()
    assert torch.equal(before[0], after[0]) and before[1:] == after[1:]
    torch.manual_seed(9)
    assert torch.equal(first[1], TransformPair(V2).pair(images, masks, seeded(5))[1])
    same = masks[:1].expand(8, -1, -1)
    assert len(TransformPair(V2).pair(images[:1].expand(8, -1, -1, -1), same, seeded())[1].unique(dim=0)) > 3


@pytest.mark.parametrize("fill", [0, {tv_tensors.Image: 0, tv_tensors.Mask: 255}, {tv_tensors.Image: 9, "others": 0}])
def test_what_comes_from_outside_is_ignored_for_every_fill(fill):
    images, masks = pairs(count=2)
    turned = TransformPair(v2.RandomAffine((45, 45), fill=fill)).pair(images, masks, seeded())[1]
    assert turned[0, 0, 0] == 255
    assert set(turned.unique().tolist()) == {1, 2, 3, 4, 255}


def test_255_classes_leave_a_fill_of_zero():
    masks = torch.arange(255, dtype=torch.uint8).view(1, 15, 17)
    flip = TransformPair(v2.RandomHorizontalFlip(1.0))
    assert torch.equal(flip.pair(masks[:, None], masks, seeded())[1], masks.flip(-1))


def test_a_transform_that_changes_the_size_is_refused():
    images, masks = pairs(count=1)
    with pytest.raises(DalError) as error:
        TransformPair(v2.Resize((6, 6))).pair(images, masks, seeded())
    assert str(error.value) == (
        "transform: expected a transform that keeps the size (3, 12, 12), got (3, 6, 6) and a mask (6, 6)."
    )


def test_an_augmentation_of_images_alone_is_refused():
    def brighter(images, generator):
        return images + 1

    with pytest.raises(DalError) as error:
        augment_pair(Compose([HorizontalFlip(), brighter]), *pairs(count=1), seeded())
    assert str(error.value) == (
        "augmentation: expected one with a method pair(images, masks, generator), such as HorizontalFlip or "
        "TransformPair, got 'brighter'."
    )


def test_no_augmentation_changes_nothing():
    images, masks = pairs(count=1)
    assert augment_pair(None, images, masks, seeded()) == (images, masks)
