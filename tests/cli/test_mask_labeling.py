"""People draw the masks of regions, in files or on the page, and the campaign is that of known masks."""

import base64
import csv
import io
import json

import numpy as np
import pytest
from helpers.label_command import beside, call
from PIL import Image

SIZES = [(24, 16), (16, 23), (20, 20), (16, 16)]
SETTINGS = [
    "data.image_size=16",
    "data.region_size=8",
    "campaign.unit=region",
    "campaign.initial_size=4",
    "campaign.query_size=3",
    "campaign.budget=7",
    "campaign.stop_set_size=0",
    "training.min_updates=1",
    "training.max_updates=2",
    "training.batch_size=4",
]


@pytest.fixture
def street(tmp_path):
    """Six images with masks, and a folder of the same kind for testing."""
    for root, count in ((tmp_path / "street", 6), (tmp_path / "test", 2)):
        random = np.random.default_rng(count)
        for folder in ("images", "masks"):
            (root / folder).mkdir(parents=True)
        (root / "classes.txt").write_text("road\nsky\n")
        for number in range(count):
            width, height = SIZES[number % len(SIZES)]
            mask = np.zeros((height, width), np.uint8)
            mask[:, width // 3 :] = 1
            pixels = (random.integers(0, 80, (height, width, 3)) + mask[..., None] * 120).astype(np.uint8)
            Image.fromarray(pixels).save(root / "images" / f"{number}.png")
            Image.fromarray(mask).save(root / "masks" / f"{number}.png")
    return tmp_path / "street"


def mask_of(street, id, box):
    x, y, width, height = map(int, box)
    return Image.open(street / "masks" / id.partition("#")[0]).crop((x, y, x + width, y + height))


def test_masks_from_files_and_the_page_give_the_run_of_known_masks(street, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    test = f"data.test_root={tmp_path / 'test'}"
    base = ["run", "experiment=label_masks", *SETTINGS, test]
    known = [*SETTINGS, test, "data=mask_folder", f"data.root={street}", "model=segmentation", "acquisition=entropy"]
    more = ["experiment=none", "acquisition.max_per_image=2", "scoring.batch_size=64", "run_dir=known"]
    status, _, errors = call(capsys, "run", *known, *more)
    assert status == 0, errors
    start = [*base, f"data.root={street / 'images'}", "data.classes=[road,sky]", "run_dir=drawn"]
    assert call(capsys, *start)[0] == 3
    status, output, errors = call(capsys, "ask", "drawn", "--files", "todo")
    assert status == 0 and output == "4 masks to draw: todo. Then: dal tell drawn todo\n", errors
    draw(street, tmp_path / "todo")
    assert call(capsys, "tell", "drawn", "todo", "--annotator", "ana")[1] == "4 new, 0 repeated, 0 superseded.\n"
    assert call(capsys, *start)[0] == 3
    assert beside(capsys, monkeypatch, lambda client: on_page(client, street), "drawn", "--no-train")[0] == 130
    status, _, errors = call(capsys, *start)
    assert status == 0, errors
    assert (tmp_path / "drawn/selections.csv").read_bytes() == (tmp_path / "known/selections.csv").read_bytes()
    rounds = [
        [json.loads(line) for line in (tmp_path / run / "rounds.jsonl").read_text().splitlines()]
        for run in ("drawn", "known")
    ]
    for key in ("test_miou", "test_loss", "cost_clicks", "cost_pixels"):
        assert [row[key] for row in rounds[0]] == [row[key] for row in rounds[1]]
    status, output, errors = call(capsys, "replay", "drawn")
    assert status == 0 and "7 labels, the same weights" in output, output + errors
    status, output, errors = call(capsys, "report", "drawn")
    assert status == 0 and "ana" in output and "Classes" not in output, errors


def draw(street, folder):
    with (folder / "ask.csv").open() as file:
        for row in csv.DictReader(file):
            box = [row[name] for name in ("x", "y", "width", "height")]
            mask_of(street, row["id"], box).save(folder / row["mask"])


def on_page(client, street):
    """Answer what the page wants with masks, after refusals that leave no answer."""
    _, found = client.lease(3)
    first, *_ = found["items"]
    assert found["status"]["masks"] and client.request("GET", f"/image/{first['index']}?part=sky")[0] == 404
    size = Image.open(io.BytesIO(client.request("GET", f"/image/{first['index']}?part=region")[2])).size
    assert list(size) == first["box"][2:]
    status, told = client.post("mask", index=first["index"], name="a.png", data=encoded(Image.new("L", (3, 4))))
    assert status == 400 and "a.png: expected" in told["error"] and told["error"].endswith("got 3 x 4.")
    stranger = "=mask:" + "0" * 64
    for number, (kind, label) in enumerate([("label", "road"), ("label", stranger), ("none", None)]):
        answer = {"event": f"bad{number}", "kind": kind, "label": label, "index": first["index"]}
        assert client.answer(answer)[0] == 400
    for item in found["items"]:
        mask = encoded(mask_of(street, item["id"], item["box"]))
        status, told = client.post("mask", index=item["index"], name="a.png", data=mask)
        assert status == 200, told
        answer = {"event": f"e{item['index']}", "kind": "label", "label": told["label"], "index": item["index"]}
        assert client.answer({**answer, "ask": item["ask"]})[0] == 200
    assert client.post("recent", count=1)[1]["answers"][0]["label"] == told["label"]
    # A mask of one region is none of another region.
    if first["box"] != found["items"][1]["box"]:
        answer = {"event": "other", "kind": "label", "label": told["label"], "index": first["index"]}
        assert client.answer(answer)[0] in (200, 400)


def encoded(image):
    written = io.BytesIO()
    image.save(written, "PNG")
    return base64.b64encode(written.getvalue()).decode()


def test_a_region_of_an_image_that_is_gone_is_not_asked(street, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photos = street / "images"
    start = [photos, "--classes", "road,sky", "data.task=segmentation", *SETTINGS, "run_dir=run", "--no-train"]
    assert beside(capsys, monkeypatch, lambda client: None, *start)[0] == 130
    rows = [*csv.DictReader(io.StringIO(call(capsys, "ask", "run")[1]))]
    assert len(rows) == 7 and rows[0]["id"].partition("#")[2] and rows[0]["width"] == rows[0]["height"]
    gone = rows[0]["id"].partition("#")[0]
    (photos / gone).unlink()
    left = [row["id"] for row in csv.DictReader(io.StringIO(call(capsys, "ask", "run")[1]))]
    assert left == [row["id"] for row in rows if not row["id"].startswith(gone)]
    events = [json.loads(line) for line in (tmp_path / "run/answers.jsonl").read_text().splitlines()]
    assert {(event["kind"], event["annotator"]) for event in events} == {("unreadable", "dal")}
    status, _, errors = call(capsys, "ask", "run", "--files", street)
    assert status == 2 and "--files: expected a new folder, or one that dal ask has written" in errors
