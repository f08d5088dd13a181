import os
import socket
from importlib.util import find_spec

import pytest

from dal.data.sources.folder.listing import class_numbers, existing_folder, folder_labels, image_files, list_images
from dal.errors import DalError


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


def test_images_are_found_anywhere_by_suffix_without_dot_files(tmp_path):
    wanted = ["b/deep/er/2.JPeG", "a.b/1.png", "top.WEBP", "x.tiff", "x.gif", "x.bmp", "x.tif", "umlaut ä.jpg"]
    touch(tmp_path, *wanted, ".hidden.png", ".git/3.png", "b/._2.jpg", "notes.txt", "png", "Thumbs.db")
    (tmp_path / "folder.png").mkdir()
    assert image_files(tmp_path) == sorted(wanted)


def test_linked_folders_are_followed_but_never_in_a_circle(tmp_path):
    touch(tmp_path, "root/a/1.png", "elsewhere/2.png")
    try:
        (tmp_path / "root" / "linked").symlink_to(tmp_path / "elsewhere")
        (tmp_path / "root" / "a" / "circle").symlink_to(tmp_path / "root")
    except OSError:
        pytest.skip("this file system has no symbolic links")
    assert image_files(tmp_path / "root") == ["a/1.png", "linked/2.png"]


@pytest.mark.parametrize("folder", ["", "none"])
def test_a_folder_must_exist(tmp_path, monkeypatch, folder):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DalError) as error:
        existing_folder("test_root", folder)
    assert str(error.value) == f"test_root: expected an existing folder of images, got {folder!r}."


def test_folder_labels_are_the_first_part():
    assert folder_labels(["cat/x/1.jpg", "dog/1.jpg", "1.jpg"]) == {"cat/x/1.jpg": "cat", "dog/1.jpg": "dog"}


def test_class_numbers_follow_the_order_given():
    assert class_numbers("csv", {"1": "dog", "2": "cat"}, ["dog", "cat"]) == {"1": 0, "2": 1}
    with pytest.raises(DalError) as error:
        class_numbers("csv", {"1": "dog", "2": "cow"}, ["dog", "cat"])
    assert str(error.value) == "csv: expected one of the classes dog, cat as the label of 2, got 'cow'."


def test_what_pillow_decodes_is_an_image(tmp_path):
    names = ["a.pgm", "b.PPM", "c.jfif", "d.jp2", "f.tga", "g.ico", "h.jpe", "i.mpo", "j.pbm"]
    names += ["k.heic"] if find_spec("pi_heif") else []
    touch(tmp_path, *names)
    assert image_files(tmp_path) == names


def test_everything_else_is_counted_by_kind_with_names(tmp_path, monkeypatch):
    touch(tmp_path, "cat/1.png", "cat/notes.txt", "b.txt", "c.TXT", "d.txt", "x.pdf", "LICENSE", ".hidden.png")
    touch(tmp_path, "cat/@eaDir/1.png", "__MACOSX/1.png", ".git/1.png", ".DS_Store", "cat/Thumbs.db", "dog/raw.cr2")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nothing")
    (tmp_path / "self.png").symlink_to("self.png")
    (tmp_path / "around").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe.jpg")
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("socket.jpg")
    listing = list_images(tmp_path)
    assert listing.files == ["cat/1.png"]
    assert {kind: sorted(names) for kind, names in listing.left_out.items()} == {
        ".txt": ["b.txt", "c.TXT", "cat/notes.txt", "d.txt"],
        ".pdf": ["x.pdf"],
        ".cr2": ["dog/raw.cr2"],
        "without a suffix": ["LICENSE"],
        "hidden files": [".hidden.png"],
        "hidden folders": [".git"],
        "system folders": ["__MACOSX", "cat/@eaDir"],
        "broken links": ["gone.png", "self.png"],
        "links to a folder around them": ["around"],
        "pipes, sockets or devices": ["pipe.jpg", "socket.jpg"],
    }
    assert listing.summary().startswith(
        ".txt: 4 (b.txt, c.TXT, cat/notes.txt, ...); broken links: 2 (gone.png, self.png); "
    )
    assert listing.summary().endswith("; 2 other kinds (links to a folder around them, without a suffix): 2")
    assert listing.empty_folders() == ["dog"]
    assert listing.reason("b.txt") == ".txt" and listing.reason("cat/@eaDir/1.png") == "system folders"
    assert listing.reason("cat/1.png") is None
    with pytest.warns(
        UserWarning, match=r"are skipped: \.txt: 4 .* folders without images are not classes: dog\.$"
    ) as caught:
        listing.warn(classes=True)
    assert len(caught) == 1


def test_heic_without_its_package_is_counted_and_says_what_it_needs(tmp_path, monkeypatch):
    from dal.data.sources.folder import formats

    for cached in (formats.suffixes, formats.formats, formats._opened):
        monkeypatch.setattr(formats, cached.__name__, cached.__wrapped__)
    monkeypatch.setattr(formats.Image, "OPEN", {k: v for k, v in formats.Image.OPEN.items() if k != "HEIF"})
    monkeypatch.setitem(__import__("sys").modules, "pi_heif", None)
    touch(tmp_path, "cat/1.heic", "dog/1.png")
    listing = list_images(tmp_path)
    assert listing.files == ["dog/1.png"]
    assert listing.summary() == ".heic (needs the package pi-heif): 1 (cat/1.heic)"


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    touch(tmp_path, "cat/1.png", "dog/1.png")
    scan = os.scandir

    def refuse(folder):
        if str(folder).endswith("dog"):
            raise PermissionError(13, "Permission denied")
        return scan(folder)

    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(
        DalError, match=r"^root: expected folders that can be read, got '.*dog \(Permission denied\)'\.$"
    ):
        list_images(tmp_path)


def test_names_are_sorted_and_compared_in_their_composed_form(tmp_path):
    touch(tmp_path, "cafe\u0301/1.png", "café/2.png", "cafz/3.png")
    files = image_files(tmp_path)
    assert set(folder_labels(files).values()) == {"café", "cafz"}
    touch(tmp_path, "café/1.png")
    with pytest.raises(DalError) as error:
        image_files(tmp_path)
    assert str(error.value) == (
        "root: expected file names that differ in more than Unicode composition, got 'cafe\\u0301/1.png' and "
        "'caf\\xe9/1.png'."
    )


def test_a_class_folder_whose_name_is_not_utf8_is_refused():
    with pytest.raises(DalError) as error:
        folder_labels(["gr\udcfcn/1.png", "blue/1.png"], "data.test_root")
    assert str(error.value) == (
        "data.test_root: expected class folders with names in UTF-8, got 'gr\\udcfcn'. Rename the folder."
    )
    assert folder_labels(["blue/gr\udcfcn.png", "gr\udcfcn.png"]) == {"blue/gr\udcfcn.png": "blue"}


@pytest.mark.parametrize("folder", ["a\0b", "x" * 5000, "~nobody-of-this-name/x"])
def test_a_name_that_no_folder_can_have_is_refused(folder):
    with pytest.raises(DalError, match=r"^root: expected an existing folder of images, got "):
        existing_folder("root", folder)


def test_the_home_folder_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "photos").mkdir()
    assert existing_folder("root", "~/photos") == tmp_path / "photos"


def test_the_file_of_the_labels_is_not_counted(tmp_path):
    touch(tmp_path, "cat/1.png", "labels.csv", "other.csv")
    listing = list_images(tmp_path)
    listing.ignore(tmp_path / "cat" / ".." / "labels.csv")
    assert listing.left_out == {".csv": ["other.csv"]}
    listing.ignore(tmp_path / "other.csv")
    assert listing.left_out == {}
