import pytest
import torch
import torch.nn.functional as F

from dal.data import resampling
from dal.data.augment import RandomResizedCrop
from dal.data.resampling import resample


def some_images(*shape, dtype=torch.uint8, seed=0):
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def rectangles_of(images, seed=1):
    return RandomResizedCrop(scale=(0.05, 1.0))._rectangles(images, torch.Generator().manual_seed(seed))


def by_grid_sample(images, rectangles, mode):
    grid = F.affine_grid(rectangles, list(images.shape), align_corners=False)
    crops = F.grid_sample(images.float(), grid, mode=mode, padding_mode="border", align_corners=False)
    return crops.round().to(torch.uint8)


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
@pytest.mark.parametrize("shape", [(5, 3, 32, 32), (3, 1, 7, 50), (2, 4, 130, 131), (4, 2, 1, 1), (1, 3, 224, 224)])
def test_rectangles_are_resampled_as_grid_sample_does(shape, mode, monkeypatch):
    monkeypatch.setattr(resampling, "_SMALL", 0)
    images = some_images(*shape)
    rectangles = rectangles_of(images)
    assert torch.equal(resample(images, rectangles, mode), by_grid_sample(images, rectangles, mode))


def test_blocks_and_groups_do_not_change_a_pixel(monkeypatch):
    images = some_images(7, 3, 40, 30)
    rectangles = rectangles_of(images)
    whole = resample(images, rectangles)
    monkeypatch.setattr(resampling, "_SMALL", 0)
    monkeypatch.setattr(resampling, "_BLOCK", 2 * 3 * 40 * 30)
    monkeypatch.setattr(resampling, "_GROUP", 5 * 3 * 40 * 30)
    assert torch.equal(resample(images, rectangles), whole)


def test_values_halfway_between_two_numbers_are_rounded_as_grid_sample_does(monkeypatch):
    monkeypatch.setattr(resampling, "_SMALL", 0)
    images = some_images(2, 1, 1, 64) // 2 * 2  # even neighbors: the value halfway is a whole number, a quarter is .5
    quarter = torch.tensor([[[0.5, 0, 0.0], [0, 1, 0]]]).repeat(2, 1, 1)
    assert torch.equal(resample(images, quarter), by_grid_sample(images, quarter, "bilinear"))


def test_images_of_any_layout_are_resampled_and_not_modified():
    images = some_images(2, 3, 64, 64)
    before, rectangles = images.clone(), rectangles_of(images)
    found = resample(images.contiguous(memory_format=torch.channels_last), rectangles)
    assert torch.equal(found, resample(images, rectangles)) and torch.equal(images, before) and found.is_contiguous()


def test_normalized_images_stay_unrounded():
    images = some_images(2, 3, 8, 8, dtype=torch.float32) / 255
    assert bool(((resample(images, rectangles_of(images)) * 255) % 1 > 0.01).any())
