"""A ranking names regions with their boxes in the image files, as CSV and as COCO JSON."""

import csv
import io
import json
import math

import numpy as np
import pytest
from helpers.toy_masks import toy_mask_data
from PIL import Image

from dal.cli.ranking import Ranking
from dal.data.boxes import box_in_file
from dal.data.sets.mask_folder import MaskFolder
from dal.data.variants.prepare import load
from dal.labeling.query import Query

SIZES = [(40, 24), (24, 40), (31, 17), (16, 16), (7, 5)]


def street(root, sizes=SIZES):
    """A folder of noise with masks; the second image is stored on its side, with an EXIF rotation."""
    g = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    (root / "classes.txt").write_text("road\nsky\n")
    for number, (width, height) in enumerate(sizes):
        pixels = Image.fromarray(g.integers(0, 255, (height, width, 3), dtype=np.uint8))
        exif = Image.Exif()
        if number == 1:
            exif[274], pixels = 6, pixels.transpose(Image.Transpose.ROTATE_90)
        pixels.save(root / "images" / f"{number}.png", exif=exif)
        Image.fromarray(g.integers(0, 2, (height, width), dtype=np.uint8)).save(root / "masks" / f"{number}.png")
    return root


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("image_size", [16, 10, 7])
def test_a_box_has_every_pixel_that_its_region_is_resized_from(size, image_size):
    # The column of each pixel of the file, resized as masks are.
    columns = Image.fromarray(np.tile(np.arange(size[0], dtype=np.uint8), (size[1], 1)))
    side = min(size)
    left = (size[0] - side) / 2
    square = (left, (size[1] - side) / 2, left + side, (size[1] + side) / 2)
    seen = np.array(columns.resize((image_size, image_size), Image.Resampling.NEAREST, box=square))
    for x0 in range(0, image_size, 4):
        x1 = min(x0 + 4, image_size)
        box = box_in_file((0, x0, image_size, x1), image_size, *size)
        exact = [(size[0] - side) / 2 + edge * side / image_size for edge in (x0, x1)]
        assert (box.x, box.x + box.width) == (math.floor(exact[0] + 1e-9), math.ceil(exact[1] - 1e-9))
        assert box.x <= seen[:, x0:x1].min() and seen[:, x0:x1].max() < box.x + box.width <= size[0]


def test_boxes_are_in_pixels_of_the_file_as_people_see_it(tmp_path):
    data = load(MaskFolder(root=str(street(tmp_path)), image_size=16, region_size=8, test_fraction=0)).train
    points = [0, 7, 8]  # of a wide image, a turned one and one with an odd size
    ranking = Ranking(data, Query.of(data, points, [0.5, 0.25, math.nan]))
    rows = list(csv.reader(io.StringIO(ranking.text("csv"))))
    assert rows[0] == ["rank", "index", "id", "score", "x", "y", "width", "height"]
    assert [row[2:3] + row[4:] for row in rows[1:]] == [
        ["0.png#r0,c0", "8", "0", "12", "12"],
        ["1.png#r1,c1", "12", "20", "12", "12"],
        ["2.png#r0,c0", "7", "0", "9", "9"],
    ]
    found = json.loads(ranking.text("coco"))
    assert [(one["file_name"], one["width"], one["height"]) for one in found["images"]] == [
        ("0.png", 40, 24),
        ("1.png", 24, 40),
        ("2.png", 31, 17),
    ]
    assert [one["bbox"] for one in found["annotations"]] == [[8, 0, 12, 12], [12, 20, 12, 12], [7, 0, 9, 9]]
    assert [(one["rank"], one["score"], one["unit"]) for one in found["annotations"]] == [
        (0, 0.5, "0.png#r0,c0"),
        (1, 0.25, "1.png#r1,c1"),
        (2, None, "2.png#r0,c0"),
    ]
    names = {one["id"]: one["file_name"] for one in found["images"]}
    assert [names[one["image_id"]] for one in found["annotations"]] == ["0.png", "1.png", "2.png"]
    assert found["categories"][0]["name"] == "label this" and found["annotations"][0]["category_id"] == 1


def test_images_without_files_have_boxes_in_their_own_pixels():
    data = toy_mask_data(count=2, region_size=4)
    assert Ranking(data, Query.of(data, [7], [1.0])).text("csv").splitlines()[1] == '0,7,"scene-01#r1,c1",1.0,4,4,4,4'
    found = json.loads(Ranking(data.whole(), Query.of(data.whole(), [1], [1.0])).text("coco"))
    assert found["annotations"][0]["bbox"] == [0, 0, 8, 8] and found["images"][0]["file_name"] == "scene-01"
