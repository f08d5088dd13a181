import os
import shutil

import pytest
import torch
from PIL import Image

from dal.data import load
from dal.data.sets.image_folder import ImageFolder, unlabeled_folder
from dal.errors import DalError


def color(number):
    return (number * 7 % 256, number * 13 % 256, number * 29 % 256)


def write(root, names):
    """The name's number is the image's color."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (5, 4), color(int(path.stem))).save(path)


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "photos"
    write(folder, [f"dog/{i}.png" for i in range(30)] + [f"cat/deep/{i}.PNG" for i in range(30, 60)] + ["60.png"])
    (folder / "notes").mkdir()
    (folder / "notes" / "readme.txt").write_text("no image")
    return folder


def config(root, **changes):
    return ImageFolder(**({"root": str(root), "image_size": 4} | changes))


def csv(tmp_path, rows):
    path = tmp_path / "labels.csv"
    path.write_text("id,label\n" + "".join(f"{name},{label}\n" for name, label in rows))
    return str(path)


def check_colors(data):
    pixels = data.source.batch(range(len(data)))
    for name, image in zip(data.ids, pixels, strict=True):
        expected = torch.tensor(color(int(name.rsplit("/")[-1].split(".")[0])), dtype=torch.uint8)
        assert torch.equal(image, expected.view(3, 1, 1).expand(3, 4, 4)), name


@pytest.mark.parametrize("in_memory", [True, False])
def test_subfolders_are_classes(root, in_memory):
    train, test = load(config(root, in_memory=in_memory))
    assert list(train.classes) == list(test.classes) == ["cat", "dog"]
    assert train.name == "photos"
    for data in (train, test):
        for name, label in zip(data.ids, data.labels.tolist(), strict=True):
            assert label == {"cat": 0, "dog": 1, "60.png": -1}[name.split("/")[0]]
        check_colors(data)
    everything = sorted([*train.ids, *test.ids])
    assert everything == sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.suffix.lower() == ".png")
    assert "60.png" in train.ids
    assert 4 <= len(test) <= 22


def test_plain_has_imagenet_statistics(root):
    train, _ = load(config(root))
    i = list(train.ids).index("60.png")
    expected = (torch.tensor(color(60)) / 255 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor(
        [0.229, 0.224, 0.225]
    )
    torch.testing.assert_close(train.plain([i])[0, :, 0, 0], expected)


def test_augmentation_flips_and_crops_the_middle_parts(tmp_path):
    image = Image.new("RGB", (16, 16), (0, 0, 0))
    image.paste((255, 255, 255), (0, 0, 8, 16))
    for name in ("a/0.png", "b/1.png"):
        (tmp_path / "r" / name).parent.mkdir(parents=True)
        image.save(tmp_path / "r" / name)
    train, _ = load(config(tmp_path / "r", image_size=16, test_fraction=0))
    out = train.augmentation(train.source.batch([0] * 100), torch.Generator().manual_seed(0)).float()
    left, right = out[:, 0, :, 0].mean(1), out[:, 0, :, -1].mean(1)
    flipped = right > left
    assert 30 < int(flipped.sum()) < 70
    assert out.flatten(1).unique(dim=0).shape[0] > 50


def test_adding_images_never_moves_others(root):
    train, test = load(config(root))
    write(root, [f"dog/{i}.png" for i in range(100, 130)])
    more_train, more_test = load(config(root))
    assert set(train.ids) < set(more_train.ids)
    assert set(test.ids) < set(more_test.ids)


def test_the_split_is_the_same_on_every_machine_and_grows_with_its_share(root):
    small, large = (set(load(config(root, test_fraction=share)).test.ids) for share in (0.2, 0.5))
    assert small < large
    numbers = sorted(int(name[4:-4]) for name in small if name.startswith("dog"))
    assert numbers == [0, 2, 4, 6, 19, 28]


def test_no_test_set_where_none_is_wanted(root):
    train, test = load(config(root, test_fraction=0))
    assert len(train) == 61
    assert test is None


def test_test_root(root, tmp_path):
    write(tmp_path / "held out", ["dog/200.png", "cat/201.png", "202.png"])
    train, test = load(config(root, test_root=str(tmp_path / "held out")))
    assert len(train) == 61
    assert list(test.ids) == ["cat/201.png", "dog/200.png"]
    assert test.labels.tolist() == [0, 1]
    check_colors(test)


def test_csv_labels_some_and_the_rest_is_pool(root, tmp_path):
    rows = [("dog/1.png", "10"), ("dog/2.png", "9"), ("60.png", "10"), ("dog/3.png", "")]
    train, test = load(config(root, csv=csv(tmp_path, rows), test_fraction=0))
    assert list(train.classes) == ["10", "9"]
    known = {name: int(label) for name, label in zip(train.ids, train.labels, strict=True) if label >= 0}
    assert known == {"dog/1.png": 0, "dog/2.png": 1, "60.png": 0}
    assert (len(train), test) == (61, None)


def test_only_labeled_images_are_tested_on(root, tmp_path):
    rows = [(f"dog/{i}.png", "ab"[i % 2]) for i in range(15)]
    train, test = load(config(root, csv=csv(tmp_path, rows), test_fraction=0.5))
    assert bool((test.labels >= 0).all())
    assert len(train) + len(test) == 61
    assert int((train.labels >= 0).sum()) + len(test) == 15


def test_classes_may_be_given(root, tmp_path):
    rows = [("dog/1.png", "dog"), ("dog/2.png", "dog")]
    train, _ = load(config(root, csv=csv(tmp_path, rows), classes=["dog", "owl", "cat"], test_fraction=0))
    assert list(train.classes) == ["dog", "owl", "cat"]
    assert train.labels[list(train.ids).index("dog/1.png")] == 0
    assert list(load(config(root, classes=["dog", "cat"])).train.classes) == ["dog", "cat"]


@pytest.mark.parametrize("with_csv", [True, False])
def test_damaged_images_are_no_points_and_the_campaign_goes_on(root, tmp_path, with_csv):
    (root / "dog" / "1.png").write_bytes(b"")
    whole = (root / "dog" / "2.png").read_bytes()
    (root / "dog" / "2.png").write_bytes(whole[:40])
    rows = [("dog/1.png", "dog"), ("dog/5.png", "dog"), ("cat/deep/30.PNG", "cat")]
    changes = {"csv": csv(tmp_path, rows), "test_fraction": 0} if with_csv else {}
    with pytest.warns(UserWarning, match=r"^2 of 61 images in "):
        train, test = load(config(root, **changes))
    assert list(train.set_aside) == ["dog/1.png", "dog/2.png"]
    assert len(train) + (0 if test is None else len(test)) == 59
    assert test is None or test.set_aside == {}
    check_colors(train)
    assert train.labels[list(train.ids).index("dog/5.png")] in (1, -1)


class TestRefused:
    def refuse(self, start, root, **changes):
        with pytest.raises(DalError) as error:
            load(config(root, **changes))
        message = str(error.value)
        assert message.startswith(start), message
        assert message.endswith(".")
        assert "\n" not in message

    def test_root(self, root, tmp_path):
        self.refuse("data.root: expected an existing folder of images, got ''.", "")
        self.refuse("data.root: expected an existing folder of images, got", tmp_path / "none")
        (tmp_path / "empty" / "cat").mkdir(parents=True)
        self.refuse("data.root: expected a folder tree with images, got none in", tmp_path / "empty")

    def test_one_class_or_none(self, root):
        shutil.rmtree(root / "cat")
        self.refuse("data.root: expected at least two class subfolders with images (or classes=), got ['dog'].", root)
        shutil.rmtree(root / "dog")
        self.refuse("data.root: expected at least two class subfolders with images (or classes=), got [].", root)
        self.refuse("data.root: expected at least one class subfolder with an image", root, classes=["dog", "cat"])

    @pytest.mark.parametrize("splits", [("train", "test"), ("Training", "Testing"), ("TRAIN", "dev")])
    def test_folders_of_splits(self, tmp_path, splits):
        write(tmp_path, [f"{split}/{name}/1.png" for split in splits for name in ("cat", "dog")])
        self.refuse("data.root: expected class subfolders (splits are given as data.root=.../train", tmp_path)

    def test_csv(self, root, tmp_path):
        self.refuse(
            "data.csv: expected existing image files below the root as ids (line 2 of",
            root,
            csv=csv(tmp_path, [("dog/999.png", "dog")]),
        )
        same = [("dog/1.png", "dog"), ("dog/2.png", "dog")]
        self.refuse(
            "data.csv: expected at least two different labels (or classes=), got ['dog'].",
            root,
            csv=csv(tmp_path, same),
        )
        self.refuse(
            "data.csv: expected at least one labeled image, got only", root, csv=csv(tmp_path, [("dog/1.png", "")])
        )
        empty = csv(tmp_path, [("dog/1.png", "")])
        self.refuse("data.csv: expected at least one labeled image", root, csv=empty, classes=["dog", "cat"])
        self.refuse("data.csv: expected a readable CSV file in UTF-8", root, csv=str(tmp_path / "none.csv"))

    def test_a_label_that_is_not_a_class(self, root, tmp_path):
        rows = [("dog/1.png", "dog"), ("dog/2.png", "cow")]
        self.refuse(
            "data.csv: expected one of the classes dog, cat as the label of dog/2.png, got 'cow'.",
            root,
            csv=csv(tmp_path, rows),
            classes=["dog", "cat"],
        )
        self.refuse(
            "data.root: expected one of the classes dog, cow as the label of cat/deep/30.PNG, got 'cat'.",
            root,
            classes=["dog", "cow"],
        )

    @pytest.mark.parametrize("classes", [["dog"], ["dog", "dog"], []])
    def test_classes(self, root, classes):
        self.refuse("data.classes: expected at least two different class names, got", root, classes=classes)

    def test_test_root(self, root, tmp_path):
        other = tmp_path / "other"
        self.refuse("data.test_root: expected an existing folder of images, got", root, test_root=str(other))
        other.mkdir()
        self.refuse("data.test_root: expected a folder tree with images, got", root, test_root=str(other))
        write(other, ["1.png"])
        self.refuse("data.test_root: expected class subfolders with images, got", root, test_root=str(other))
        write(other, ["cow/1.png"])
        self.refuse(
            "data.test_root: expected one of the classes cat, dog as the label of cow/1.png, got 'cow'.",
            root,
            test_root=str(other),
        )

    @pytest.mark.parametrize("where", [".", "dog", ".."])
    def test_test_images_among_the_training_images(self, root, where):
        self.refuse("data.test_root: expected a folder that is not inside the root", root, test_root=str(root / where))

    @pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
    def test_share(self, root, share):
        self.refuse("data.test_fraction: expected a share from 0 to below 1, got", root, test_fraction=share)

    @pytest.mark.parametrize("share", [1e-9, 0.999999])
    def test_a_side_without_labeled_images(self, root, share):
        self.refuse(
            "data.test_fraction: expected a share that leaves some of the 60 labeled images", root, test_fraction=share
        )

    def test_all_labeled_images_are_damaged(self, root, tmp_path):
        for number in (1, 2):
            (root / "dog" / f"{number}.png").write_bytes(b"")
        path = csv(tmp_path, [("dog/1.png", "dog"), ("dog/2.png", "cat")])
        with pytest.warns(UserWarning, match="set aside"):
            self.refuse("data.root: expected a labeled image that can be decoded, got none in", root, csv=path)


def test_a_folder_without_labels_has_the_same_ids_and_pixels(root):
    (root / "dog" / "3.png").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"^1 of 61 images"):
        data = unlabeled_folder(str(root), image_size=4, classes=["x", "y"], name="fresh")
    assert data.labels.tolist() == [-1] * 60
    assert (data.name, data.classes, list(data.set_aside)) == ("fresh", ["x", "y"], ["dog/3.png"])
    assert "cat/deep/30.PNG" in data.ids
    check_colors(data)
    with pytest.warns(UserWarning, match="set aside"):
        train, _ = load(config(root, test_fraction=0))
    assert list(train.ids) == list(data.ids)
    assert torch.equal(train.plain(range(60)), data.plain(range(60)))
    with pytest.raises(DalError, match=r"^root: expected an existing folder of images"):
        unlabeled_folder(str(root / "none"), image_size=4, classes=["x", "y"])


def fingerprint(root, **changes):
    return load(config(root, **changes)).fingerprint().split("-")


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_fingerprint_follows_labels_and_content_but_neither_times_nor_the_place(root, tmp_path, in_memory):
    rows = [(f"dog/{i}.png", "ab"[i % 2]) for i in range(20)]
    changes = {"csv": csv(tmp_path, rows), "in_memory": in_memory, "test_fraction": 0.2}
    before = fingerprint(root, **changes)
    shutil.copytree(root, tmp_path / "copy" / "photos", copy_function=shutil.copy)
    os.utime(root / "60.png", (1, 1))
    assert fingerprint(tmp_path / "copy" / "photos", **changes) == fingerprint(root, **changes) == before
    test_id, train_id = load(config(root, **changes)).test.ids[0], "dog/1.png"
    relabeled = fingerprint(root, **changes | {"csv": csv(tmp_path, (dict(rows) | {train_id: "a"}).items())})
    assert [a == b for a, b in zip(relabeled, before, strict=True)] == [True, False, True, True]
    csv(tmp_path, rows)
    Image.new("RGB", (5, 4), (1, 2, 3)).save(root / test_id)
    assert [a == b for a, b in zip(fingerprint(root, **changes), before, strict=True)] == [True, True, True, False]
    Image.new("RGB", (5, 4), (1, 2, 3)).save(root / train_id)
    assert [a == b for a, b in zip(fingerprint(root, **changes), before, strict=True)] == [True, True, False, False]


def test_a_class_of_formats_beside_the_usual_ones_is_a_class(root):
    for suffix, form in {"pgm": "PPM", "jfif": "JPEG", "jp2": "JPEG2000", "tga": "TGA"}.items():
        (root / suffix).mkdir()
        for number in range(8):
            Image.new("L", (8, 8), 9 * number).save(root / suffix / f"{number}.{suffix}", form)
    train, _ = load(config(root))
    assert list(train.classes) == ["cat", "dog", "jfif", "jp2", "pgm", "tga"]


def test_folders_of_the_operating_system_are_no_classes_and_said_once(root):
    write(root, ["@eaDir/1.png", "dog/@eaDir/2.png", "RECYCLED/3.png", ".thumbnails/4.png"])
    with pytest.warns(
        UserWarning, match=r"system folders: 3 \(@eaDir, RECYCLED, dog/@eaDir\); .* hidden folders: 1 \(\.thumbnails\)"
    ) as caught:
        train, test = load(config(root))
    assert len(caught) == 1
    assert list(train.classes) == ["cat", "dog"] and len(train) + len(test) == 61


@pytest.mark.parametrize("name", ["unlabeled", "NaN"])
def test_a_class_folder_that_is_named_like_a_missing_label_is_said(root, name):
    write(root, [f"{name}/70.png"])
    with pytest.warns(UserWarning, match=rf"^data\.root: the folder '{name}' is read as a class\. Images directly in"):
        assert name in load(config(root)).train.classes


def test_only_left_out_files_are_an_error_that_counts_them(tmp_path):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "1.cr2").touch()
    with pytest.raises(DalError) as error:
        load(config(tmp_path))
    assert str(error.value) == (
        f"data.root: expected a folder tree with images, got none in {str(tmp_path)!r} (skipped: .cr2: 1 (cat/1.cr2))."
    )


def test_classes_that_look_the_same_are_refused_unless_both_are_listed(root):
    shutil.copytree(root / "dog", root / "Dog")
    with pytest.raises(
        DalError, match=r"^data.root: expected class names that differ in more than case .*'Dog' and 'dog'\.$"
    ):
        load(config(root))
    assert list(load(config(root, classes=["cat", "dog", "Dog"])).train.classes) == ["cat", "dog", "Dog"]
    shutil.rmtree(root / "Dog")
    shutil.copytree(root / "dog", root / "dog\u200b")
    with pytest.raises(DalError) as error:
        load(config(root))
    assert str(error.value) == r"data.root: expected class names that look different, got 'dog' and 'dog\u200b'."


def test_a_class_in_two_unicode_forms_is_one_class(root, tmp_path):
    (root / "dog").rename(root / "cafe\u0301")
    rows = [("café/1.png", "café"), ("cafe\u0301/2.png", "cafe\u0301"), ("cat/deep/30.PNG", "cat")]
    train, _ = load(config(root, csv=csv(tmp_path, rows), test_fraction=0))
    assert list(train.classes) == ["café", "cat"]
    assert "café/1.png" in train.ids and int((train.labels == 0).sum()) == 2
    check_colors(train)
    assert list(load(config(root, classes=["cat", "cafe\u0301"])).train.classes) == ["cat", "café"]


@pytest.mark.parametrize("wrong", [1000.0, True])
def test_classes_are_texts(root, wrong):
    with pytest.raises(DalError, match=r"^classes: expected class names as text, got "):
        load(config(root, classes=["cat", wrong]))


def test_the_home_folder_is_expanded(root, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    csv(tmp_path, [("dog/1.png", "a"), ("dog/2.png", "b")])
    train, _ = load(config("~/photos", csv="~/labels.csv", test_fraction=0))
    assert len(train) == 61 and int((train.labels >= 0).sum()) == 2


def test_a_path_with_a_nul_character_is_one_sentence(root):
    for name, message in (
        ("root", "an existing folder"),
        ("test_root", "an existing folder"),
        ("csv", "a path without"),
    ):
        with pytest.raises(DalError, match=rf"^data\.{name}: expected {message}.* got 'a\\x00b'"):
            load(ImageFolder(**({"root": str(root)} | {name: "a\0b"})))


def test_a_class_folder_without_a_visible_name_is_refused(root):
    write(root, ["\u200b/70.png"])
    with pytest.raises(DalError, match=r"^data\.root: expected class names that are not empty, got '\\u200b'"):
        load(config(root))
