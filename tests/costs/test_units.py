import numpy as np
import pytest
import torch

from dal.costs.units import click_model, clicks, fit_into_budget, measure_units
from dal.errors import DalError


def grid(height, width, size):
    """The unit of each pixel, row by row; the last row and column of units may be smaller."""
    rows, columns = torch.arange(height) // size, torch.arange(width) // size
    across = -(-width // size)
    return rows[:, None] * across + columns, -(-height // size) * across


def by_loops(masks, units, num_units):
    """Classes, border and pixels of each unit, one pixel at a time."""
    classes, border, pixels = (np.zeros((len(masks), num_units)) for _ in range(3))
    height, width = units.shape
    for b, mask in enumerate(masks):
        for u in range(num_units):
            inside = [(y, x) for y in range(height) for x in range(width) if units[y, x] == u]
            classes[b, u] = len({int(mask[p]) for p in inside} - {255})
            pixels[b, u] = len(inside)
            for y, x in inside:
                for other in ((y + 1, x), (y, x + 1)):
                    if other in inside and mask[other] != mask[y, x] and 255 not in (mask[other], mask[y, x]):
                        border[b, u] += 1
    return classes, border, pixels


@pytest.mark.parametrize(("height", "width", "size"), [(6, 6, 3), (7, 5, 3), (4, 9, 1), (5, 5, 9)])
def test_units_are_measured_as_by_loops(height, width, size):
    g = torch.Generator().manual_seed(height)
    masks = torch.tensor([0, 1, 7, 254, 255], dtype=torch.uint8)[torch.randint(0, 5, (3, height, width), generator=g)]
    units, count = grid(height, width, size)
    found = measure_units(masks, units, count)
    classes, border, pixels = by_loops(masks.numpy(), units.numpy(), count)
    assert (found.classes.numpy() == classes).all()
    assert (found.border.numpy() == border).all()
    assert (found.pixels.numpy() == pixels).all()
    assert (found.clicks().numpy() == classes + border / 8).all()


def test_a_small_mask_by_hand():
    # Left unit: classes 0 and 1, three sides between them. Right unit: class 2 and ignored pixels.
    mask = torch.tensor([[[0, 0, 2, 2], [0, 1, 255, 2], [1, 1, 2, 2]]], dtype=torch.uint8)
    units = torch.tensor([[0, 0, 1, 1]] * 3)
    found = measure_units(mask, units, 2)
    assert found.classes.tolist() == [[2, 1]]
    assert found.border.tolist() == [[3, 0]]  # the side between the units does not count
    assert found.pixels.tolist() == [[6, 6]]
    assert found.clicks().tolist() == [[2.375, 1.0]]


def test_a_unit_of_ignored_pixels_needs_no_click():
    found = measure_units(torch.full((1, 2, 2), 255, dtype=torch.uint8), torch.zeros(2, 2, dtype=torch.int64), 1)
    assert found.clicks().tolist() == [[0.0]]


def test_a_coarse_prediction_has_the_lengths_of_the_mask():
    coarse = torch.tensor([[[0, 1], [0, 1]]])
    fine = coarse.repeat_interleave(4, 1).repeat_interleave(8, 2)
    one = measure_units(coarse, torch.zeros(2, 2, dtype=torch.int64), 1, pixel_size=(4.0, 8.0))
    other = measure_units(fine, torch.zeros(8, 16, dtype=torch.int64), 1)
    assert one.clicks().tolist() == other.clicks().tolist() == [[3.0]]
    assert one.pixels.tolist() == other.pixels.tolist() == [[128.0]]


def test_masks_of_another_shape_are_refused():
    with pytest.raises(DalError, match=r"masks: expected shape \(B, 2, 2\), got \(1, 2, 3\)\."):
        measure_units(torch.zeros(1, 2, 3), torch.zeros(2, 2, dtype=torch.int64), 1)


def test_a_function_replaces_the_click_model():
    found = measure_units(torch.tensor([[[0, 1]]]), torch.zeros(1, 2, dtype=torch.int64), 1)
    assert found.clicks(lambda classes, border, pixels: 3 * classes + border + pixels).tolist() == [[9.0]]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda classes, border, pixels: 1, "expected a tensor of shape (1, 1), the clicks of units, got int."),
        (lambda classes, border, pixels: classes - 5, "expected finite numbers of at least 0, got -4.0."),
        (lambda classes, border, pixels: border / 0, "expected finite numbers of at least 0, got nan."),
        (lambda classes, border, pixels: [0][1], "pixels of units, got IndexError: list index out of range."),
        (lambda classes: classes, "expected a function of three tensors: the classes, the border and the pixels of"),
    ],
)
def test_clicks_that_are_no_costs_are_refused(model, message):
    found = measure_units(torch.zeros(1, 1, 1), torch.zeros(1, 1, dtype=torch.int64), 1)
    with pytest.raises(DalError) as error:
        found.clicks(model)
    assert message in str(error.value)


def test_the_click_model_can_be_named(tmp_path, monkeypatch):
    (tmp_path / "own_clicks_of_a_test.py").write_text("def mine(classes, border, pixels):\n    return classes\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert click_model("own_clicks_of_a_test.mine").__name__ == "mine"
    assert click_model(None) is clicks
    assert click_model(clicks) is clicks


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("mine", "expected MODULE.FUNCTION, such as my_module.my_clicks, got 'mine'."),
        ("no_such_module.mine", "expected a module that can be imported, got ModuleNotFoundError"),
        ("dal.costs.units.mine", "expected the name of a function in dal.costs.units, got 'mine'."),
        (8, "expected a function, or MODULE.FUNCTION, got 8."),
    ],
)
def test_a_click_model_that_is_none_is_refused(given, message):
    with pytest.raises(DalError) as error:
        click_model(given)
    assert f"campaign.clicks: {message}" in str(error.value)


def test_a_query_ends_before_the_first_unit_that_does_not_fit():
    costs = torch.tensor([2.0, 2.0, 5.0, 1.0])
    assert [fit_into_budget(costs, left) for left in (1, 2, 4, 8, 9, 10)] == [0, 1, 2, 2, 3, 4]
