import pytest

from dal.data.sources.csv_labels import csv_labels
from dal.data.sources.listing import class_numbers, existing_folder, folder_labels, image_files
from dal.errors import DalError

FILES = ["a/1.jpg", "a/2.jpg", "3.png"]


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
    assert str(error.value) == f"test_root: expected a folder of images that exists, got {folder!r}."


def test_folder_labels_are_the_first_part():
    assert folder_labels(["cat/x/1.jpg", "dog/1.jpg", "1.jpg"]) == {"cat/x/1.jpg": "cat", "dog/1.jpg": "dog"}


def write(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "labels.csv"
    path.write_text(text, encoding=encoding)
    return path


def test_csv_with_extra_columns_empty_labels_and_quotes(tmp_path):
    text = 'split, label,id\nx,cat,a/1.jpg\ny,,./a/2.jpg\nz," big, dog ",3.png\n'
    assert csv_labels(write(tmp_path, text), FILES) == {"a/1.jpg": "cat", "3.png": "big, dog"}


def test_csv_as_a_spreadsheet_writes_it(tmp_path):
    text = "id,label\r\na/1.jpg,NA\r\na/2.jpg\r\n"
    assert csv_labels(write(tmp_path, text, "utf-8-sig"), FILES) == {"a/1.jpg": "NA"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "csv: expected the columns id and label in {path}, got []."),
        ("file,class\n3.png,cat\n", "csv: expected the columns id and label in {path}, got ['file', 'class']."),
        (
            "id,label\n3.png,cat\n4.png,cat\n",
            "csv: expected image files that exist below the root as ids (line 3 of {path}), got '4.png'.",
        ),
        ("id,label\n3.png,cat\n./3.png,\n", "csv: expected each id once (line 3 of {path}), got '3.png'."),
        ("id,label\n,cat\n", "csv: expected image files that exist below the root as ids (line 2 of {path}), got ''."),
    ],
)
def test_csv_mistakes(tmp_path, text, message):
    path = write(tmp_path, text)
    with pytest.raises(DalError) as error:
        csv_labels(path, FILES)
    assert str(error.value) == message.format(path=path)


def test_csv_that_cannot_be_read(tmp_path):
    with pytest.raises(DalError, match=r"^csv: expected a CSV file .* got No such file or directory\.$"):
        csv_labels(tmp_path / "none.csv", FILES)
    path = write(tmp_path, "id,label\n3.png,größe\n", "latin-1")
    with pytest.raises(DalError, match=r"^csv: expected a CSV file in UTF-8"):
        csv_labels(path, FILES)


def test_class_numbers_follow_the_order_given():
    assert class_numbers("csv", {"1": "dog", "2": "cat"}, ["dog", "cat"]) == {"1": 0, "2": 1}
    with pytest.raises(DalError) as error:
        class_numbers("csv", {"1": "dog", "2": "cow"}, ["dog", "cat"])
    assert str(error.value) == "csv: expected one of the classes dog, cat as the label of 2, got 'cow'."
