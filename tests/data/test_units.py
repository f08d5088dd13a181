"""Regions of images, their names, and the sites of a grid that belong to them."""

import pytest

from dal.data.units import UnitIds, Units
from dal.errors import DalError


def test_a_3x3_image_with_regions_of_2():
    units = Units(3, 3, region_size=2)
    assert units.boxes.tolist() == [[0, 0, 2, 2], [0, 2, 2, 3], [2, 0, 3, 2], [2, 2, 3, 3]]
    assert units.pixels.tolist() == [4, 2, 2, 1]
    assert units.of_pixels(3, 3).tolist() == [[0, 0, 1], [0, 0, 1], [2, 2, 3]]
    assert [units.name(u) for u in range(4)] == ["r0,c0", "r0,c1", "r1,c0", "r1,c1"]


@pytest.mark.parametrize("region_size", [None, 7, 100])
def test_without_regions_or_with_large_ones_the_unit_is_the_image(region_size):
    units = Units(5, 7, region_size)
    assert len(units) == 1 and units.boxes.tolist() == [[0, 0, 5, 7]] and units.pixels.tolist() == [35]
    assert not units.of_pixels(5, 7).any()


@pytest.mark.parametrize("height, width, size", [(7, 5, 3), (8, 8, 4), (1, 1, 1), (6, 9, 2)])
@pytest.mark.parametrize("grid", [(1, 1), (2, 3), (4, 4), (7, 5), (14, 10)])
def test_each_site_belongs_to_the_region_that_holds_its_center(height, width, size, grid):
    units, (h, w) = Units(height, width, size), grid
    of = units.of_pixels(h, w)
    for row in range(h):
        for column in range(w):
            y, x = (row + 0.5) * height / h, (column + 0.5) * width / w
            y0, x0, y1, x1 = units.boxes[of[row, column]].tolist()
            assert y0 <= y < y1 and x0 <= x < x1
    sites, counts = units.sites(h, w)
    flat = of.flatten().tolist()
    for unit in range(len(units)):
        own = [site for site, owner in enumerate(flat) if owner == unit]
        if own:
            assert sites[unit, : counts[unit]].tolist() == own
        else:  # the grid is coarser than the regions
            y0, x0, y1, x1 = units.boxes[unit].tolist()
            covering = int((y0 + y1) / 2 * h / height) * w + int((x0 + x1) / 2 * w / width)
            assert counts[unit] == 1 and sites[unit].unique().tolist() == [covering]


def test_ids_of_points_name_the_image_and_the_region():
    ids = UnitIds(["street/17.png", "b"], Units(8, 12, region_size=4))
    assert len(ids) == 12 and ids[5] == "street/17.png#r1,c2" and ids[-1] == "b#r1,c2"
    assert ids[4:7] == ["street/17.png#r1,c1", "street/17.png#r1,c2", "b#r0,c0"]
    with pytest.raises(IndexError):
        ids[12]


@pytest.mark.parametrize("size", [0, -1, 2.5, True])
def test_a_region_size_that_is_no_number_of_pixels_is_refused(size):
    with pytest.raises(DalError, match=r"^region_size: expected (a whole number of )?at least 1, got"):
        Units(4, 4, size)
