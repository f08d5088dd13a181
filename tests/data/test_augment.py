import math

import pytest
import torch

from dal.data.augment import Compose, HorizontalFlip, RandomCrop, RandomResizedCrop
from dal.errors import DalError


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images():
    return torch.randint(1, 256, (40, 3, 7, 5), dtype=torch.uint8, generator=seeded(1))


@pytest.mark.parametrize(
    "augmentation",
    [
        RandomCrop(2),
        HorizontalFlip(),
        RandomResizedCrop(),
        Compose((RandomCrop(1), HorizontalFlip(), RandomResizedCrop((0.5, 0.9)))),
    ],
    ids=lambda augmentation: type(augmentation).__name__,
)
class TestEach:
    def test_result_depends_on_the_generator_alone(self, augmentation, images):
        torch.manual_seed(0)
        first = augmentation(images, seeded(3))
        state = torch.get_rng_state()
        torch.manual_seed(1)
        assert torch.equal(first, augmentation(images, seeded(3)))
        assert not torch.equal(first, augmentation(images, seeded(4)))
        torch.manual_seed(0)
        assert torch.equal(state, torch.get_rng_state())

    def test_keeps_shape_and_dtype_and_leaves_the_input_alone(self, augmentation, images):
        before = images.clone()
        for typed in (images, images.float() / 255):
            out = augmentation(typed, seeded())
            assert (out.shape, out.dtype) == (typed.shape, typed.dtype)
            assert out.is_contiguous()
            out.zero_()
        assert torch.equal(images, before)

    def test_images_are_drawn_for_one_by_one(self, augmentation, images):
        same = images[:1].expand(40, -1, -1, -1)
        assert len(augmentation(same, seeded()).flatten(1).unique(dim=0)) > 1

    def test_an_empty_batch_stays_empty(self, augmentation, images):
        if isinstance(augmentation, RandomCrop | HorizontalFlip):
            assert augmentation(images[:0], seeded()).shape == (0, 3, 7, 5)


def test_crop_equals_a_loop_over_the_images(images):
    out = RandomCrop(2)(images, seeded())
    top, left = torch.randint(5, (2, 40), generator=seeded())
    for i, image in enumerate(images):
        padded = torch.zeros(3, 11, 9, dtype=torch.uint8)
        padded[:, 2:9, 2:7] = image
        assert torch.equal(out[i], padded[:, top[i] : top[i] + 7, left[i] : left[i] + 5])
    assert set(top.tolist()) == set(left.tolist()) == set(range(5))


def test_flip_equals_a_loop_over_the_images(images):
    out = HorizontalFlip(0.3)(images, seeded())
    flipped = torch.rand(40, generator=seeded()) < 0.3
    assert 0 < int(flipped.sum()) < 40
    for i, image in enumerate(images):
        assert torch.equal(out[i], image.flip(2) if flipped[i] else image)


def bilinear(image, y, x):
    """The value between pixel centers, with the border repeated outside."""
    _, height, width = image.shape
    y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
    y0, x0 = math.floor(y), math.floor(x)
    y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
    fy, fx = y - y0, x - x0
    upper = (1 - fx) * image[:, y0, x0] + fx * image[:, y0, x1]
    lower = (1 - fx) * image[:, y1, x0] + fx * image[:, y1, x1]
    return (1 - fy) * upper + fy * lower


def test_resized_crop_equals_a_loop_over_pixels(images):
    images = images[:6].double()
    out = RandomResizedCrop((0.3, 0.8))(images, seeded(5))
    area_draw, ratio_draw, x_draw, y_draw = torch.rand(4, 6, generator=seeded(5)).double().tolist()
    for i, image in enumerate(images):
        area = (0.3 + 0.5 * area_draw[i]) * 7 * 5
        ratio = math.exp(math.log(3 / 4) + (math.log(4 / 3) - math.log(3 / 4)) * ratio_draw[i])
        wide, tall = min(math.sqrt(area * ratio), 5), min(math.sqrt(area / ratio), 7)
        left, top = x_draw[i] * (5 - wide), y_draw[i] * (7 - tall)
        for row in range(7):
            for column in range(5):
                y, x = top + (row + 0.5) * tall / 7 - 0.5, left + (column + 0.5) * wide / 5 - 0.5
                torch.testing.assert_close(out[i, :, row, column], bilinear(image, y, x), rtol=0, atol=1e-3)


def test_resized_crop_of_everything_changes_nothing_and_rounds_instead_of_cutting():
    images = torch.randint(256, (5, 3, 8, 8), dtype=torch.uint8, generator=seeded())
    assert torch.equal(RandomResizedCrop((1.0, 1.0), (1.0, 1.0))(images, seeded()), images)
    halves = torch.tensor([0, 255], dtype=torch.uint8).repeat(1, 1, 8, 4)
    crop = RandomResizedCrop((0.5, 0.9))
    torch.testing.assert_close(crop(halves, seeded()).double(), crop(halves.double(), seeded()), rtol=0, atol=0.501)


def test_compose_passes_one_generator_through(images):
    source = seeded()
    expected = HorizontalFlip()(RandomCrop(2)(images, source), source)
    assert torch.equal(Compose([RandomCrop(2), HorizontalFlip()])(images, seeded()), expected)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomCrop(0), "padding: expected at least 1 pixel, got 0."),
        (lambda: HorizontalFlip(1.5), "probability: expected a number from 0 to 1, got 1.5."),
        (lambda: RandomResizedCrop((0.8, 0.2)), "scale: expected two shares of the area, 0 < low <= high <= 1, "),
        (lambda: RandomResizedCrop(ratio=(0.0, 1.0)), "ratio: expected two positive ratios, low <= high, got"),
    ],
)
def test_refused(make, message):
    with pytest.raises(DalError) as error:
        make()
    assert str(error.value).startswith(message)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("height", "width", "padding"), [(8, 8, 2), (5, 9, 4), (3, 2, 7)])
def test_random_crop_shows_the_padded_image_from_the_drawn_corner(height, width, padding, dtype):
    images = torch.randint(1, 256, (9, 3, height, width)).to(dtype)
    masks = torch.randint(0, 5, (9, height, width)).to(torch.uint8)
    corners = torch.randint(2 * padding + 1, (2, 9), generator=torch.Generator().manual_seed(3)).T.tolist()
    crops, cropped_masks = RandomCrop(padding).pair(images, masks, torch.Generator().manual_seed(3))
    for index, (top, left) in enumerate(corners):
        place = (..., slice(top, top + height), slice(left, left + width))
        assert torch.equal(crops[index], torch.nn.functional.pad(images[index], (padding,) * 4)[place])
        assert torch.equal(
            cropped_masks[index], torch.nn.functional.pad(masks[index], (padding,) * 4, value=255)[place]
        )
