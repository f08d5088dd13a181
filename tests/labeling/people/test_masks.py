"""Masks that people draw of regions: what is taken and refused, where it is kept, and what the model sees of it."""

import csv
import hashlib
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from dal.data.answered_masks import AnsweredMasks, read_mask, resized
from dal.data.grid import Grid
from dal.data.sources.folder.mask_files import center
from dal.errors import DalError
from dal.labeling.held_out import HeldOut
from dal.labeling.people.answers import Answers
from dal.labeling.people.events import MASK
from dal.labeling.people.formats.mask_folder import file_name, write_units
from dal.labeling.people.masks import MaskBook, UnitPlaces
from dal.labeling.people.taking import masks_of, take
from dal.labeling.people.telling import tell_file
from dal.labeling.pool import Pool
from dal.runs.asked import AskedLine
from dal.tasks import SEGMENTATION

SIZES = {"a.png": (40, 24), "b.png": (17, 31), "c.png": (5, 9)}


@pytest.fixture
def book(tmp_path):
    """What takes masks of 16x16 pixels in regions of 8x8."""
    root = tmp_path / "photos"
    root.mkdir()
    for name, size in SIZES.items():
        Image.new("RGB", size, "gray").save(root / name)
    (tmp_path / "run").mkdir()
    return MaskBook(tmp_path / "run", UnitPlaces(root, list(SIZES), Grid(16, 16, 8)), num_classes=3)


def noise(size, seed=0):
    return np.random.default_rng(seed).integers(0, 3, size[::-1], dtype=np.uint8)


def png(numbers, kind="PNG"):
    written = io.BytesIO()
    Image.fromarray(numbers).save(written, kind)
    return io.BytesIO(written.getvalue())


def label(book, index, numbers, **options):
    return book.label(index, png(numbers), ".png", "mask", **options)


@pytest.mark.parametrize("image", range(3))
def test_masks_of_the_regions_are_the_mask_of_the_image_as_the_model_sees_it(image, book):
    size = [*SIZES.values()][image]
    whole = noise(size)
    masks = AnsweredMasks(3, book.places.grid)
    masks.open(book.run / "masks")
    given = {}
    for index in range(image * 4, image * 4 + 4):
        x, y, width, height = book.places.of(index).box
        name = label(book, index, whole[y : y + height, x : x + width])
        assert name == label(book, index, whole, write=False)  # a mask of the whole image is cut
        given[index] = name.removeprefix(MASK)
    masks.take(given, [0, 1, 2], num_classes=3)
    assert torch.equal(masks.batch([image])[0], center(torch.from_numpy(whole), 16))
    masks.take({image * 4 + 3: None}, [0, 2, 2], num_classes=2)  # taken back, a class merged into a new one
    seen = masks.batch([image])[0]
    assert (seen[8:, 8:] == 255).all()
    expected = center(torch.from_numpy(whole), 16)[:8]
    assert torch.equal(seen[:8], torch.where(expected == 0, expected, 255))


@pytest.mark.parametrize(
    ("numbers", "kind", "sentence"),
    [
        (noise((12, 11)), "PNG", "mask: expected 12 x 12 pixels as its region, or 40 x 24 as its image, got 12 x 11."),
        (np.full((12, 12), 9, np.uint8), "PNG", "expected class numbers from 0 to 2, or 255 for ignored pixels, got 9"),
        (np.full((12, 12), 255, np.uint8), "PNG", "or the answer =unsure in place of a mask, got only 255"),
        (noise((12, 12)), "JPEG", "mask: expected a lossless format such as PNG"),
        (np.zeros((12, 12, 3), np.uint8), "PNG", "mask: expected a mask in gray or with a palette"),
    ],
    ids=["size", "class", "ignored", "lossy", "color"],
)
def test_what_is_no_mask_of_the_region_is_refused_in_a_sentence(numbers, kind, sentence, book):
    with pytest.raises(DalError) as caught:
        book.label(0, png(numbers, kind), ".png", "mask")
    assert sentence in str(caught.value) and not (book.run / "masks").exists()


def test_a_mask_that_is_gone_or_changed_is_named(book):
    digest = label(book, 0, noise((12, 12))).removeprefix(MASK)
    assert resized(read_mask(book.run / "masks", digest), 16, (0, 0, 8, 8)).shape == (8, 8)
    path = book.run / "masks" / f"{digest}.png"
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(DalError, match=r"is damaged\. Restore it\."):
        read_mask(book.run / "masks", digest)
    data = png(noise((12, 12))).read()  # as from elsewhere, with a right digest
    name = hashlib.sha256(data).hexdigest()
    (book.run / "masks" / f"{name}.png").write_bytes(data)
    with pytest.raises(DalError, match=r"is no mask that dal has written\. Restore it\."):
        read_mask(book.run / "masks", name)
    path.unlink()
    with pytest.raises(DalError, match=r"expected the file .* No such file or directory\. Restore it\."):
        read_mask(book.run / "masks", digest)


def lines(book, indices):
    names = [f"{[*SIZES][index // 4]}#{book.places.grid.name(index % 4)}" for index in indices]
    pairs = enumerate(zip(indices, names, strict=True))
    return [AskedLine(n, 0, n, index, name, kind="initial") for n, (index, name) in pairs]


def told(book, asked, folder, answers, **options):
    indices = {line.id: line.index for line in asked}
    return tell_file(answers, indices, asked, folder, masks=book, **options).sentence()


def test_a_folder_of_regions_comes_back_with_masks(book, tmp_path):
    asked, folder = lines(book, [1, 4, 8]), tmp_path / "todo"
    answers = Answers(book.run, ["road", "sky", "tree"])
    write_units(folder, asked, book.places, answers.fold.classes.names)
    rows = [*csv.DictReader((folder / "ask.csv").open())]
    assert [Image.open(folder / "images" / file_name(row["id"])).size for row in rows] == [(12, 12), (9, 9), (3, 3)]
    assert Image.open(folder / "context" / file_name(rows[1]["id"])).size == SIZES["b.png"]
    assert (folder / "classes.txt").read_text() == "road\nsky\ntree\n"
    assert told(book, asked, folder, answers) == "0 new, 0 repeated, 0 superseded, 3 without a label"
    for row in rows[:2]:
        size = int(row["width"]), int(row["height"])
        Image.fromarray(noise(size)).save(_made(folder / row["mask"]))
    (folder / "ask.csv").write_text((folder / "ask.csv").read_text().rstrip("\n") + "=skip\n")
    assert told(book, asked, folder, answers, dry_run=True) == "3 new, 0 repeated, 0 superseded"
    assert not (book.run / "answers.jsonl").exists() and not (book.run / "masks").exists()
    assert told(book, asked, folder, answers) == "3 new, 0 repeated, 0 superseded"
    assert told(book, asked, folder, answers) == "0 new, 3 repeated, 0 superseded"
    # Drawn again, also after the table of the next query has replaced the first.
    first = folder / rows[0]["mask"]
    before = first.read_bytes()
    write_units(folder, asked[2:], book.places, answers.fold.classes.names)
    for content, result in ((noise((12, 12), 1), "1 new"), (None, "1 new"), (None, "0 new")):
        first.write_bytes(before if content is None else png(content).getvalue())
        assert told(book, asked, folder, answers).startswith(result)
    events = [json.loads(line) for line in (book.run / "answers.jsonl").read_text().splitlines()]
    assert [event["kind"] for event in events] == ["label", "label", "skip", "label", "label"]
    assert events[0]["label"] == events[4]["label"] != events[3]["label"]
    assert Answers(book.run, answers.classes).refresh().decision(1).label == answers.fold.decision(1).label
    (folder / "masks" / "other.png").write_bytes(before)
    with pytest.raises(DalError, match=r"expected only masks with the names .* got other.png"):
        told(book, asked, folder, answers)


@pytest.mark.parametrize(
    ("label", "sentence"),
    [
        ("road", "label: expected the path of a mask below '.*', got 'road' in line 2."),
        ("=none", "label: expected the path of a mask, or one of =unsure, =skip, =unreadable, got '=none' in line 2."),
    ],
)
def test_a_label_that_is_no_mask_is_refused(label, sentence, book, tmp_path):
    (tmp_path / "told.csv").write_text(f'id,label\n"a.png#r0,c1",{label}\n')
    with pytest.raises(DalError, match=sentence):
        told(book, lines(book, [1]), tmp_path / "told.csv", Answers(book.run, ["road", "sky", "tree"]))
    assert not (book.run / "answers.jsonl").exists()


def _made(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def test_a_crash_before_the_journal_loses_no_answer_and_leaves_none(book, tmp_path, monkeypatch):
    asked, folder = lines(book, [1]), tmp_path / "todo"
    answers = Answers(book.run, ["road", "sky", "tree"])
    write_units(folder, asked, book.places, answers.fold.classes.names)
    Image.fromarray(noise((12, 12))).save(folder / "masks" / file_name(asked[0].id))
    with monkeypatch.context() as killed:
        killed.setattr(Answers, "record_all", lambda self, drafts: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            told(book, asked, folder, answers)
    assert not (book.run / "answers.jsonl").exists() and len([*(book.run / "masks").iterdir()]) == 1
    assert told(book, asked, folder, answers) == "1 new, 0 repeated, 0 superseded"
    (digest,) = masks_of(answers.fold, [1]).values()
    assert (read_mask(book.run / "masks", digest).numbers == noise((12, 12))).all()


@pytest.mark.parametrize(("kind", "name", "got"), [("label", "road", "a class"), ("none", None, "=none")])
def test_a_class_is_no_answer_for_a_region(kind, name, got, tmp_path):
    answers = Answers(tmp_path, ["road", "sky"])
    answers.record({"kind": kind, "index": 2, "id": "a#r0,c1", "label": name})
    pool = Pool(4, 2, task=SEGMENTATION)
    with pytest.raises(DalError, match=f"answers: expected a mask for each point of the run, got {got} for index 2."):
        take(answers.fold, pool, HeldOut(pool), round=0)
