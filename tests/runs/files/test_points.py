import gzip
import hashlib
import json
from dataclasses import replace

import pytest
import torch
from PIL import Image

from dal.data import load
from dal.data.images import ImageData, ImageSplits, TensorSource
from dal.data.sets.image_folder import ImageFolder
from dal.errors import DalError
from dal.runs.files.state import read_state, write_state
from dal.runs.folder import RunFolder
from dal.runs.layout import POINTS
from dal.runs.restored import read_run_folder
from dal.tasks import MULTI_LABEL

PIXELS = torch.arange(6 * 4, dtype=torch.uint8).view(6, 1, 2, 2)


def data(ids="abcdef", labels=(0, 1, -1, 1, -2, 0), pixels=PIXELS, classes=("cat", "dog"), **changes):
    names = [f"{name}.jpg" for name in ids]
    return ImageData("toy", TensorSource(pixels[: len(names)]), names, torch.tensor(labels), classes, **changes)


def start(path, splits):
    """A run with a round."""
    folder = RunFolder(path, {}, splits.fingerprint())
    folder.keep_weights({})
    folder.commit_round({"campaign_stopped": None, "num_labeled": 0})
    folder.close()


def refused(path, splits):
    before = (path / "state.json").read_bytes()
    with pytest.raises(DalError) as error:
        RunFolder(path, {}, splits.fingerprint())
    assert (path / "state.json").read_bytes() == before
    message = str(error.value)
    head, tail = f"data: the run in {str(path)!r} started with ", ". Restore the data, or choose another run_dir."
    assert message.startswith(head) and message.endswith(tail) and "\n" not in message
    return message.removeprefix(head).removesuffix(tail)


def painted(*places):
    pixels = PIXELS.clone()
    pixels[list(places)] += 100
    return pixels


CHANGES = {
    "a pixel": ({"pixels": painted(1)}, "other pixels under the same ids (1 changed: b.jpg)"),
    "four": (
        {"pixels": painted(0, 1, 4, 5)},
        "other pixels under the same ids (4 changed: a.jpg, b.jpg, e.jpg, ...)",
    ),
    "labels": (
        {"labels": (1, 1, 0, -1, -2, -2)},
        "other labels of the same images (4 changed: a.jpg: dog, was cat; c.jpg: cat, was unlabeled; "
        "d.jpg: unlabeled, was dog; ...)",
    ),
    "outside": (
        {"labels": (0, 1, -1, 1, 0, 0)},
        "other labels of the same images (1 changed: e.jpg: cat, was none of the classes)",
    ),
    "ids": ({"ids": "abcdxy"}, "other images (2 new: x.jpg, y.jpg; 2 missing: e.jpg, f.jpg)"),
    "one less": ({"ids": "abcde", "labels": (0, 1, -1, 1, -2)}, "other images (1 missing: f.jpg)"),
    "order": (
        {"ids": "bacdef", "labels": (1, 0, -1, 1, -2, 0), "pixels": PIXELS[[1, 0, 2, 3, 4, 5]]},
        "other images (in another order)",
    ),
    "classes": (
        {"classes": ("cat", "cow", "dog"), "labels": (0, 2, -1, 2, -2, 0)},
        "other images (class new: cow)",
    ),
    "class order": ({"classes": ("dog", "cat")}, "other images (classes in another order)"),
    "both": (
        {"ids": "abcdex", "pixels": painted(2)},
        "other images (1 new: x.jpg; 1 missing: f.jpg) and other pixels under the same ids (1 changed: c.jpg)",
    ),
    "escape": ({"ids": ["a", "b", "c", "d", "e", "\x1b[31m"]}, r"other images (1 new: \x1b[31m.jpg; 1 missing: f.jpg)"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_refusal_names_what_has_changed(tmp_path, name):
    changes, words = CHANGES[name]
    start(tmp_path / "run", ImageSplits(data(), None))
    assert refused(tmp_path / "run", ImageSplits(data(**changes), None)) == words
    RunFolder(tmp_path / "run", {}, ImageSplits(data(), None).fingerprint()).close()


def test_changes_of_the_test_set_are_named_too(tmp_path):
    start(tmp_path / "run", ImageSplits(data(), data()))
    test = data(labels=(1, 1, -1, 1, -2, 0), pixels=painted(5))
    assert refused(tmp_path / "run", ImageSplits(data(), test)) == (
        "another test set (labels 1 changed: a.jpg: dog, was cat; pixels 1 changed: f.jpg)"
    )
    assert read_run_folder(tmp_path / "run", data(labels=(1, 1, 1, 1, 1, 1)).fingerprint()).rows
    with pytest.raises(DalError, match=r"started with other images \(1 missing: f\.jpg\)\. Restore"):
        read_run_folder(tmp_path / "run", data("abcde", (0, 1, -1, 1, -2)).fingerprint())


def test_sets_of_labels_are_named(tmp_path):
    labels = torch.tensor([[1, 0], [1, 1], [0, 0], [-1, -1]])
    several = replace(data("abcd", (0, 0, 0, 0)), labels=labels, task=MULTI_LABEL)
    start(tmp_path / "run", ImageSplits(several, None))
    labels = torch.tensor([[1, 1], [-1, -1], [0, 0], [0, 0]])
    assert refused(tmp_path / "run", ImageSplits(replace(several, labels=labels), None)) == (
        "other labels of the same images (3 changed: a.jpg: cat;dog, was cat; b.jpg: unlabeled, was cat;dog; "
        "d.jpg: none of the classes, was unlabeled)"
    )


def test_a_source_without_digests_has_its_ids_and_labels_compared(tmp_path):
    class Bare:
        def __len__(self):
            return 6

    start(tmp_path / "run", ImageSplits(replace(data(), source=Bare()), None))
    assert (
        refused(tmp_path / "run", ImageSplits(replace(data(labels=(0,) * 6), source=Bare()), None)).count("changed")
        == 1
    )


def test_a_folder_of_images_and_its_csv(tmp_path):
    photos, csv = tmp_path / "photos", tmp_path / "labels.csv"
    photos.mkdir()
    for place in range(12):
        Image.new("RGB", (4, 4), (place, 0, 0)).save(photos / f"{place}.png")

    def splits(**labels):
        there = sorted(photos.glob("*.png"))
        rows = {path.name: "cat" if int(path.stem) % 2 else "dog" for path in there} | labels
        csv.write_text("id,label\n" + "".join(f"{name},{label}\n" for name, label in rows.items()))
        return load(ImageFolder(root=str(photos), csv=str(csv), image_size=4, test_fraction=0.0))

    start(tmp_path / "run", splits())
    changed = splits(**{"3.png": "dog"})
    assert refused(tmp_path / "run", changed) == "other labels of the same images (1 changed: 3.png: dog, was cat)"
    Image.new("RGB", (4, 4), "white").save(photos / "5.png")
    (photos / "11.png").unlink()
    Image.new("RGB", (4, 4), (0, 9, 0)).save(photos / "12.png")
    assert refused(tmp_path / "run", splits()) == (
        "other images (1 new: 12.png; 1 missing: 11.png) and other pixels under the same ids (1 changed: 5.png)"
    )


def test_the_file_is_verified_and_old_folders_have_none(tmp_path):
    path = tmp_path / "run"
    start(path, ImageSplits(data(), data()))
    points = json.loads(gzip.decompress((path / POINTS).read_bytes()))
    assert points["classes"] == ["cat", "dog"] and points["test"]["ids"] == list(data().ids)
    assert points["train"]["labels"] == ["cat", "dog", "unlabeled", "dog", "none of the classes", "cat"]
    whole, fingerprint = (path / POINTS).read_bytes(), ImageSplits(data(), data()).fingerprint()
    for damaged in (b"", whole[:-1] + b"x", gzip.compress(b"[]", mtime=0)):
        (path / POINTS).write_bytes(damaged)
        for read in (lambda: RunFolder(path, {}, fingerprint), lambda: read_run_folder(path, data().fingerprint())):
            with pytest.raises(DalError, match=rf"^run: {POINTS} in .* is damaged \(its digest differs"):
                read()
    state = read_state(path)
    del state["digests"][POINTS]
    write_state(path, state)
    (path / POINTS).unlink()
    RunFolder(path, {}, fingerprint).close()
    assert refused(path, ImageSplits(data(pixels=painted(1)), data())) == "other pixels under the same ids"


def packed(content):
    return gzip.compress(content, compresslevel=1, mtime=0)


@pytest.mark.parametrize(
    "content",
    [lambda: b"", lambda: b"no gzip", lambda: packed(b""), lambda: packed(b"[1]"),
     lambda: packed(b'{"classes": [], "train": {"ids": [1]}}'),
     lambda: packed(b'{"classes": [], "train": {"ids": ["a"], "labels": [], "digests": null}}'),
     lambda: packed(b"[" * 10**6), lambda: packed(b" " * 2**28)],
    ids=["empty", "no_gzip", "nothing", "a_number", "ids_are_numbers", "too_few_labels", "deep", "long"],
)  # fmt: skip
def test_a_file_with_a_digest_of_its_own_is_still_untrusted(tmp_path, content):
    path, content = tmp_path / "run", content()
    start(path, ImageSplits(data(), None))
    (path / POINTS).write_bytes(content)
    state = read_state(path)
    state["digests"][POINTS] = hashlib.sha256(content).hexdigest()
    write_state(path, state)
    with pytest.raises(DalError, match=rf"^run: {POINTS} in .* is damaged"):
        RunFolder(path, {}, ImageSplits(data(pixels=painted(1)), None).fingerprint())


def test_a_plain_text_as_fingerprint_still_works(tmp_path):
    RunFolder(tmp_path / "run", {}, str(data().fingerprint())).close()
    assert not (tmp_path / "run" / POINTS).exists()
