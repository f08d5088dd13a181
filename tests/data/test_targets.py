"""What training sees of masks that are bought in part."""

import pytest
import torch
from helpers.toy_masks import toy_mask_data

from dal.data.masks import TensorMasks
from dal.data.targets import MaskTargets, targets_of
from dal.errors import DalError


def test_pixels_outside_the_bought_regions_are_ignored():
    data = toy_mask_data(4, region_size=4)
    targets = MaskTargets(data, torch.tensor([14, 3, 12]))  # of images 3, 0 and 3
    assert targets.images.tolist() == [3, 0], "in the order in which they were bought"
    first, second = targets.masks([3, 0])
    full = data.masks.batch([3, 0])
    assert torch.equal(first[:, :4], full[0][:, :4]) and (first[:, 4:] == 255).all()
    assert torch.equal(second[4:, 4:], full[1][4:, 4:]) and (second == 255).sum() == 48


def test_a_bought_image_is_seen_as_a_whole():
    data = toy_mask_data(4)
    images, masks = targets_of(data, torch.tensor([2, 1]), torch.zeros(2)).plain([2, 1])
    assert masks.dtype == torch.int64 and torch.equal(masks, data.masks.batch([2, 1]).long())
    assert torch.equal(images, data.plain([2, 1]))


def test_a_mask_of_another_size_is_refused():
    data = toy_mask_data(4, masks=TensorMasks(torch.zeros(4, 8, 6, dtype=torch.uint8)))
    with pytest.raises(DalError, match=r"^masks: expected the size of the images, 8 x 8, got 8 x 6\.$"):
        MaskTargets(data, torch.arange(4)).masks([0])


def test_an_unknown_class_is_refused_with_its_image_and_place():
    masks = torch.zeros(4, 8, 8, dtype=torch.uint8)
    masks[2, 5, 1] = 7
    targets = MaskTargets(toy_mask_data(4, masks=TensorMasks(masks)), torch.arange(4))
    with pytest.raises(
        DalError, match=r"^mask of 'scene-02': expected class numbers from 0 to 2, .* got 7 at x=1, y=5"
    ):
        targets.masks([0, 2])


def test_a_batch_whose_bought_pixels_all_move_out_is_not_augmented():
    class Away:
        def pair(self, images, masks, generator):
            return images.flip(-1), torch.full_like(masks, 255)

    data = toy_mask_data(4, region_size=4, augmentation=Away())
    targets = MaskTargets(data, torch.tensor([0, 5]))
    images, masks = targets.augmented([0, 1], torch.Generator())
    assert torch.equal(images, data.plain([0, 1])) and torch.equal(masks, targets.masks([0, 1]).long())
