"""Boxes of the square and of its file."""

import numpy as np
import pytest
import torch
from PIL import Image

from dal.data.fit import to_file, to_square, used_box
from dal.data.sources.folder.decoding import square

SIZES = [(8, 6), (100, 64), (37, 91), (64, 64), (3, 200)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("fit", ["crop", "stretch"])
def test_a_box_there_and_back_is_the_same(size, fit):
    rng = np.random.default_rng(0)
    for _ in range(50):
        x, y = np.sort(rng.uniform(0, 32, (2, 2)), axis=1)
        box = (x[0], y[0], x[1], y[1])
        there = to_file(box, 32, size, fit)
        assert to_square(there, 32, size, fit) == pytest.approx(box, abs=1e-9)
        assert 0 <= there[0] <= there[2] <= size[0] and 0 <= there[1] <= there[3] <= size[1]


@pytest.mark.parametrize("size", [(120, 70), (70, 120)])
@pytest.mark.parametrize("fit", ["crop", "stretch"])
def test_a_pixel_of_the_square_shows_the_place_in_the_file(size, fit):
    """A file whose levels are its coordinates: half a pixel apart at most, besides the rounding of levels."""
    y, x = np.mgrid[: size[1], : size[0]]
    image = Image.fromarray(np.stack([x, y, x], axis=2).astype(np.uint8))
    shown = square(image, 16, fit).double()
    for row, column in ((2, 3), (8, 12), (13, 7)):
        left, top, right, bottom = to_file((column, row, column + 1, row + 1), 16, size, fit)
        center = torch.tensor([(left + right) / 2 - 0.5, (top + bottom) / 2 - 0.5], dtype=torch.float64)
        assert float((shown[:2, row, column] - center).abs().max()) <= 1


def test_a_box_outside_of_the_square_is_cut():
    assert used_box(100, 64, "crop") == (18, 0, 82, 64)
    assert to_square((0, 0, 50, 64), 32, (100, 64), "crop") == (0, 0, 16, 32)
    assert to_square((0, 0, 10, 10), 32, (100, 64), "crop")[:3:2] == (0, 0)
