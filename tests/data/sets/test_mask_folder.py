import numpy as np
import pytest
import torch
from PIL import Image

from dal.data import load
from dal.data.sets.mask_folder import MaskFolder
from dal.errors import DalError

CLASSES = ["road", "sky", "tree"]
PALETTE = [0, 0, 0, 128, 0, 0, 0, 128, 0]


def mask_of(number):
    """A mask of 8 x 6 pixels with all three classes and ignored pixels."""
    numbers = (np.arange(48).reshape(6, 8) + number) % 3
    numbers[0, 0] = 255
    return numbers.astype(np.uint8)


def write_image(path, number=0, size=(8, 6), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (number * 7 % 256, number * 13 % 256, 99)).save(path, **options)


def write_mask(path, pixels, mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    if mode == "P":
        image = Image.frombytes("P", image.size, pixels.tobytes())
        image.putpalette(PALETTE)
    image.save(path)


def write(root, names, images="images", masks="masks"):
    for name in names:
        write_image(root / images / f"{name}.jpg", int(name.rsplit("/")[-1]))
        write_mask(root / masks / f"{name}.png", mask_of(int(name.rsplit("/")[-1])))


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "street"
    write(folder, [f"a/{number}" for number in range(10)] + [str(number) for number in range(10, 20)])
    (folder / "classes.txt").write_text("road\nsky\n\u0074ree\n\n")
    return folder


def config(root, **changes):
    return MaskFolder(**({"root": str(root), "image_size": 6} | changes))


def center_of(number):
    return torch.from_numpy(mask_of(number)[:, 1:7])


@pytest.mark.parametrize("in_memory", [True, False])
def test_images_have_the_masks_of_their_names(root, in_memory):
    train, test = load(config(root, in_memory=in_memory))
    assert train.name == "street" and train.task.name == "segmentation"
    assert list(train.classes) == CLASSES
    assert sorted([*train.ids, *test.ids]) == sorted(
        [f"a/{n}.jpg" for n in range(10)] + [f"{n}.jpg" for n in range(10, 20)]
    )
    for data in (train, test):
        assert bool((data.labels == 0).all())
        for name, mask in zip(data.ids, data.masks.batch(range(len(data))), strict=True):
            assert torch.equal(mask, center_of(int(name.rsplit("/")[-1].removesuffix(".jpg")))), name
    assert train.fingerprint() == load(config(root)).train.fingerprint()


def test_a_test_set_is_a_share_a_split_or_another_folder(root, tmp_path):
    everything = load(config(root, test_fraction=0.0))
    assert len(everything.train) == 20 and everything.test is None
    write(tmp_path / "more", ["70", "71"])
    train, test = load(config(root, test_root=str(tmp_path / "more")))
    assert len(train) == 20 and list(test.ids) == ["70.jpg", "71.jpg"]


@pytest.mark.parametrize("form", ["{split}/images", "images/{split}"])
def test_splits_lie_above_or_below_the_folders(tmp_path, form):
    numbers = iter(range(100))
    for split in ("train", "val", "test"):
        images = form.format(split=split)
        write(tmp_path, [str(next(numbers)) for _ in range(3)], images, images.replace("images", "masks"))
    with pytest.warns(UserWarning, match=r"^data.root: images of the splits val are not used\.$"):
        train, test = load(config(tmp_path, classes=CLASSES))
    assert (list(train.ids), list(test.ids)) == (["0.jpg", "1.jpg", "2.jpg"], ["6.jpg", "7.jpg", "8.jpg"])
    with pytest.warns(UserWarning, match="of the splits test are not used"):
        assert next(iter(load(config(tmp_path, classes=CLASSES, test_split="val")).test.ids)) == "3.jpg"
    with pytest.raises(DalError, match=r"^data.test_split: expected one of the splits val, test, got 'dev'\.$"):
        config(tmp_path, classes=CLASSES, test_split="dev").read()


def test_folders_and_suffixes_of_other_formats(tmp_path):
    for number in range(4):
        write_image(tmp_path / f"leftImg8bit/train/bonn/bonn_{number}_leftImg8bit.png", number)
        write_mask(tmp_path / f"gtFine/train/bonn/bonn_{number}_gtFine_labelTrainIds.png", mask_of(number))
        write_mask(tmp_path / f"gtFine/train/bonn/bonn_{number}_gtFine_instanceIds.png", mask_of(0).astype(np.uint16))
    suffixes = {"image_suffix": "_leftImg8bit", "mask_suffix": "_gtFine_labelTrainIds"}
    folders = {"images": "leftImg8bit", "masks": "gtFine"}
    train, _ = load(config(tmp_path, classes=CLASSES, test_fraction=0.0, **folders, **suffixes))
    assert list(train.ids) == [f"bonn/bonn_{number}_leftImg8bit.png" for number in range(4)]
    assert torch.equal(train.masks.batch([2])[0], center_of(2))


@pytest.mark.parametrize("masks", [".", "masks"])
def test_masks_lie_beside_their_images_or_below_them(tmp_path, masks):
    for number in range(3):
        write_image(tmp_path / f"{number}.png", number)
        write_mask(tmp_path / masks / f"{number}_mask.png", mask_of(number))
    data = load(
        config(tmp_path, classes=CLASSES, images=".", masks=masks, mask_suffix="_mask", test_fraction=0.0)
    ).train
    assert list(data.ids) == ["0.png", "1.png", "2.png"]


def test_images_without_a_mask_are_points_without_labels(root):
    (root / "masks" / "12.png").unlink()
    with pytest.warns(
        UserWarning, match=r"^data.root: 1 of 20 images have no mask and are points without labels: 12\.jpg"
    ):
        train, test = load(config(root))
    assert "12.jpg" in train.ids and "12.jpg" not in test.ids
    place = list(train.ids).index("12.jpg")
    assert train.labels[place] == -1 and bool((train.masks.batch([place]) == 255).all())


def test_a_test_image_without_a_mask_is_not_used(tmp_path):
    write(tmp_path, ["train/1", "train/2", "test/3", "test/4"])
    (tmp_path / "masks/test/4.png").unlink()
    with pytest.warns(UserWarning, match="^data.root: 1 test images without a mask are not used: 4.jpg"):
        assert list(load(config(tmp_path, classes=CLASSES)).test.ids) == ["3.jpg"]


def test_damaged_images_are_set_aside_with_their_masks(root):
    (root / "images" / "12.jpg").write_bytes(b"no image")
    with pytest.warns(UserWarning, match="cannot be decoded"):
        train, _ = load(config(root))
    assert "12.jpg" in train.set_aside and "12.jpg" not in train.ids


def test_a_mask_that_is_ignored_everywhere_is_none(root):
    write_mask(root / "masks" / "12.png", np.full((6, 8), 255, dtype=np.uint8))
    with (
        pytest.warns(UserWarning, match=r"^1 masks with only ignored pixels \(255\).*12\.png"),
        pytest.warns(UserWarning, match="1 of 20 images have no mask"),
    ):
        train, _ = load(config(root))
    assert train.labels[list(train.ids).index("12.jpg")] == -1


def test_colors_of_a_table_are_classes(root):
    colors = np.array([[9, 9, 9], [0, 0, 255], [0, 255, 0]], dtype=np.uint8)
    for path in (root / "masks").rglob("*.png"):
        numbers = np.array(Image.open(path))
        pixels = np.where((numbers == 255)[..., None], 200, colors[numbers % 255])
        write_mask(path, pixels.astype(np.uint8))
    (root / "colors.csv").write_text("name,r,g,b\nsky,0,0,255\nroad,9,9,9\ntree,0,255,0\n,200,200,200\n")
    train, _ = load(config(root))
    assert list(train.classes) == CLASSES  # of classes.txt
    assert torch.equal(train.masks.batch([0])[0], center_of(int(train.ids[0].rsplit("/")[-1].removesuffix(".jpg"))))
    (root / "classes.txt").unlink()
    assert list(load(config(root)).train.classes) == ["sky", "road", "tree"]
    (root / "colors.csv").write_text("name,r,g,b\nsky,0,0,255\nroad,9,9,9\n,200,200,200\n")
    with pytest.raises(DalError, match=r"\.png: expected colors of the color table, got \(0, 255, 0\) at x=\d, y=0\.$"):
        config(root).read()


def test_colors_of_voc(tmp_path):
    for number in range(2):
        write_image(tmp_path / f"JPEGImages/{number}.jpg", number)
        pixels = np.zeros((6, 8, 3), dtype=np.uint8)
        pixels[3:], pixels[0] = (192, 128, 128), (224, 224, 192)
        write_mask(tmp_path / f"SegmentationClass/{number}.png", pixels)
    folders = {"images": "JPEGImages", "masks": "SegmentationClass"}
    train, _ = load(config(tmp_path, colors="voc", test_fraction=0.0, **folders))
    assert train.classes[15] == "person" and len(train.classes) == 21
    assert train.masks.batch([0])[0, :, 0].tolist() == [255, 0, 0, 15, 15, 15]


def test_black_and_white_masks_need_colors(tmp_path):
    for number in range(3):
        write_image(tmp_path / f"images/{number}.jpg", number)
        write_mask(tmp_path / f"masks/{number}.png", np.eye(6, 8, dtype=np.uint8) * 255)
    with pytest.raises(DalError) as error:
        config(tmp_path, classes=["background", "cell"]).read()
    assert str(error.value) == (
        "data.root: expected pixels of at least two of the 2 classes, got only class 0 and 255, which is ignored (if "
        "255 is a class, list (255, 255, 255) in colors.csv)."
    )
    (tmp_path / "colors.csv").write_text("r,g,b,class\n0,0,0,background\n255,255,255,cell\n")
    train, _ = load(config(tmp_path, classes=["background", "cell"], test_fraction=0.0))
    assert torch.equal(train.masks.batch([0])[0], torch.eye(6, 8)[:, 1:7].byte())


def refused(config):
    with pytest.raises(DalError) as error:
        config.read()
    return str(error.value)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((8, 6), np.uint8), "{file}: expected 8 x 6 pixels as in {image}, got 6 x 8."),
        (
            np.full((6, 8), 3, np.uint8),
            "{file}: expected class numbers from 0 to 2, or 255 for ignored pixels, got 3 at x=0, y=0.",
        ),
        (
            np.full((6, 8), 26001, np.uint16),
            "{file}: expected class numbers from 0 to 2, or 255 for ignored pixels, got 26001 at x=0, y=0 (a mask of "
            "instances, such as class * 1000 + instance, has to be converted to class numbers).",
        ),
        (
            np.zeros((6, 8, 3), np.uint8),
            "{file}: expected a mask in gray or with a palette (masks in color need a file colors.csv), got mode RGB.",
        ),
    ],
    ids=["size", "class", "instances", "color"],
)
def test_a_mask_that_does_not_fit_is_refused_by_its_name(root, pixels, message):
    file = root / "masks" / "a" / "3.png"
    write_mask(file, pixels)
    assert refused(config(root)) == message.format(file=file, image=root / "images" / "a" / "3.jpg")


def test_an_orphan_is_refused_by_its_name(root):
    write_mask(root / "masks" / "99.png", mask_of(0))
    expected = "data.root: expected an image with the same stem for each mask, got none for"
    assert refused(config(root)) == f"{expected} {root / 'masks' / '99.png'}."


def test_a_stem_in_other_case_is_named(root):
    (root / "masks" / "12.png").rename(root / "masks" / "12b.png")
    (root / "images" / "12.jpg").rename(root / "images" / "12B.jpg")
    assert refused(config(root)).endswith("12b.png (the name of 12B.jpg differs in upper and lower case).")


@pytest.mark.parametrize(("name", "kind"), [("12.png", "broken links"), ("12.npy", ".npy")])
def test_files_that_are_not_masks_are_named_if_masks_are_missing(root, name, kind):
    (root / "masks" / "12.png").unlink()
    if kind == ".npy":
        np.save(root / "masks" / name, mask_of(12))
    else:
        (root / "masks" / name).symlink_to(root / "nowhere.png")
    with (
        pytest.warns(UserWarning, match=rf"masks: files that are not masks are skipped: {kind}: 1 \({name}\)\.$"),
        pytest.warns(UserWarning, match="1 of 20 images have no mask"),
    ):
        load(config(root))


def test_hidden_files_and_links_are_as_in_a_folder_of_images(root, recwarn):
    (root / "masks" / "a" / "3.png").rename(root / "elsewhere.png")
    (root / "masks" / "a" / "3.png").symlink_to(root / "elsewhere.png")
    (root / "masks" / "again").symlink_to(root / "masks")
    (root / "masks" / "._12.png").write_bytes(b"resource fork")
    train, test = load(config(root))
    assert len(train) + len(test) == 20
    assert not [one for one in recwarn.list if "outside the center squares" not in str(one.message)]


def test_two_files_of_a_stem_are_refused(root):
    write_mask(root / "masks" / "a" / "3.tif", mask_of(0))
    assert "expected one file for each stem of an image or a mask, got a/3.png and a/3.tif in" in refused(config(root))


def test_masks_with_a_suffix_name_the_setting(root):
    for path in list((root / "masks").rglob("*.png")):
        path.rename(path.with_name(f"{path.stem}_L.png"))
    assert refused(config(root)) == (
        "data.root: expected an image and a mask with the same stem, got 10.jpg and 10_L.png (if '_L' is in the names "
        "of all masks, set data.mask_suffix=_L)."
    )
    assert len(load(config(root, mask_suffix="_L", test_fraction=0.0)).train) == 20


def test_missing_folders_name_those_that_are_there(tmp_path):
    write(tmp_path / "voc", ["1"], "JPEGImages", "SegmentationClass")
    assert refused(config(tmp_path / "voc")) == (
        "data.root: expected the folders images and masks, or train/images and train/masks, got JPEGImages, "
        f"SegmentationClass in '{tmp_path / 'voc'}' (if they have other names, set data.images=JPEGImages "
        "data.masks=SegmentationClass)."
    )


def test_classes_must_be_listed(root):
    file = root / "classes.txt"
    file.unlink()
    expected = f"the class names, got none. List them in {file}, one per line from class 0."
    assert refused(config(root)) == f"data.classes: expected {expected}"
    file.write_text("road\n")
    assert refused(config(root)) == f"{file}: expected from 2 to 255 classes, got ['road']."


def test_settings_that_contradict_each_other_are_refused(root, tmp_path):
    write(tmp_path / "more", ["train/1", "test/2"])
    both = config(root, test_root=str(tmp_path / "more"), test_split="test")
    assert refused(both) == "data.test_split: expected null with data.test_root, got 'test'."
    splits = config(root, test_root=str(tmp_path / "more"))
    assert refused(splits).startswith("data.test_root: expected a folder without splits")
    assert refused(config(root, colors="no.csv")) == "data.colors: expected an existing CSV file, or voc, got 'no.csv'."
