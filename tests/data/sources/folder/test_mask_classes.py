import numpy as np
import pytest

from dal.data.sources.folder.mask_classes import ColorTable, NamedColor, read_classes, read_colors, voc_colors
from dal.errors import DalError


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a class name on each line, that of class 0 first, got an empty file."),
        ("\n \n", "expected a class name on each line, that of class 0 first, got an empty file."),
        ("a\n\nb\n", "expected a class name on each line, because the line is the class number, got a blank line 2."),
        ("a\nb\na\n", "expected each class name once, got 'a' twice."),
    ],
)
def test_a_list_of_classes_that_is_not_clear_is_refused(tmp_path, text, message):
    path = tmp_path / "classes.txt"
    path.write_text(text)
    with pytest.raises(DalError) as error:
        read_classes(path)
    assert str(error.value) == f"{path}: {message}"


def test_the_line_is_the_class_number(tmp_path):
    (tmp_path / "classes.txt").write_bytes("\ufeffsky \r\nRoad\r\n\r\n".encode())
    assert read_classes(tmp_path / "classes.txt") == ["sky", "Road"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected the columns r,g,b,class, got []."),
        ("r,g,b,class\n", "expected a color on each line after the first, got none."),
        ("r,g,class\n1,2,sky\n", "expected the columns r,g,b,class, got ['r', 'g', 'class']."),
        ("r,g,b,class\n1,2,256,sky\n", "expected r, g and b from 0 to 255 (line 2), got ['1', '2', '256']."),
        ("r,g,b,class\n1,2,,sky\n", "expected r, g and b from 0 to 255 (line 2), got ['1', '2', '']."),
        ("r,g,b,class\n1,2,3,sky\n1,2,3,road\n", "expected each color once (line 3), got (1, 2, 3)."),
        (
            "r,g,b,class\n1,2,3,sky\n1,2,4,Sky\n",
            "expected class names that differ in more than case or look-alike letters (or both in data.classes), got "
            "'Sky' and 'sky'.",
        ),
    ],
)
def test_a_table_of_colors_that_is_not_clear_is_refused(tmp_path, text, message):
    path = tmp_path / "colors.csv"
    path.write_text(text)
    with pytest.raises(DalError) as error:
        read_colors(path)
    assert str(error.value) == f"{path}: {message}"


def test_colors_can_share_a_class_and_the_columns_have_any_order(tmp_path):
    (tmp_path / "colors.csv").write_text("name, r, g, b\nsky, 1, 2, 3\nsky, 4, 5, 6\nroad,0,0,0\n,255,255,255\n")
    colors = read_colors(tmp_path / "colors.csv")
    assert [name for _, name in colors] == ["sky", "sky", "road", ""]
    pixels = np.array([[[4, 5, 6], [1, 2, 3]], [[0, 0, 0], [255, 255, 255]]], dtype=np.uint8)
    assert ColorTable(colors, ["road", "sky"], "colors").numbers(pixels, "1.png").tolist() == [[1, 1], [0, 255]]


def test_a_color_of_an_unlisted_class_is_refused():
    with pytest.raises(DalError, match=r"^data.colors: expected one of the classes road, sky, got 'tree'\.$"):
        ColorTable([NamedColor((1, 1, 1), "tree")], ["road", "sky"], "data.colors")


def test_the_colors_of_voc():
    found = {name: color for color, name in voc_colors()}
    # from the development kit of VOC2012
    assert found["background"] == (0, 0, 0) and found["aeroplane"] == (128, 0, 0) and found["tvmonitor"] == (0, 64, 128)
    assert found[""] == (224, 224, 192) and len(found) == 22
