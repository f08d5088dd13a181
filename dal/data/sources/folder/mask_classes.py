"""Reads the classes and the colors of masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dal.data.sources.folder.csv_text import Row, read_text, rows
from dal.data.sources.folder.names import check_distinct, check_listed_names, composed
from dal.errors import DalError, bad_content, bad_value, shortened
from dal.tasks.segmentation import IGNORED

VOC_CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
_COLOR_COLUMNS = ("r", "g", "b")
_NAME_COLUMNS = ("class", "name", "label")

Color = tuple[int, int, int]


class NamedColor(NamedTuple):
    """A color of masks, and the name of its class, which is empty for ignored pixels."""

    color: Color
    name: str


def read_classes(path: Path) -> list[str]:
    """Return the class names of a text file, one per line, from class 0.

    Raises DalError, with the line, for an empty file, a blank line between names, or a repeated name.
    """
    lines = [composed(line.strip()) for line in read_text(path, str(path)).splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise bad_content(str(path), "a class name on each line, that of class 0 first", "an empty file")
    if "" in lines:
        expected = "a class name on each line, because the line is the class number"
        raise bad_content(str(path), expected, f"a blank line {lines.index('') + 1}")
    check_listed_names(str(path), lines)
    return lines


def read_colors(path: Path) -> list[NamedColor]:
    """Return the colors of a CSV file with the columns r, g, b and class.

    The last column can also be named name or label. An empty class marks ignored pixels. Several colors can have one
    class.

    Raises DalError, with the line, for a missing column, a color that is not three numbers from 0 to 255, or a repeated
    color.
    """
    table = list(rows(read_text(path, str(path)), ",", path, str(path)))
    header = [cell.lower() for cell in table[0].cells] if table else []
    names = [column for column in _NAME_COLUMNS if column in header]
    if len(names) != 1 or any(header.count(column) != 1 for column in (*_COLOR_COLUMNS, *names)):
        raise bad_value(str(path), "the columns r,g,b,class", header)
    places = [header.index(column) for column in (*_COLOR_COLUMNS, names[0])]
    found: dict[Color, NamedColor] = {}
    for row in table[1:]:
        named = _named_color(row, places, path)
        if named.color in found:
            raise bad_value(f"{path}", f"each color once (line {row.line})", named.color)
        found[named.color] = named
    if not found:
        raise bad_content(str(path), "a color on each line after the first", "none")
    check_distinct(str(path), {named.name for named in found.values() if named.name})
    return list(found.values())


def voc_colors() -> list[NamedColor]:
    """Return the colors of Pascal VOC, with its class names and the color of ignored pixels.

    >>> voc_colors()[15]
    NamedColor(color=(192, 128, 128), name='person')
    """
    colors = [_voc_color(number) for number in (*range(len(VOC_CLASSES)), IGNORED)]
    return [NamedColor(color, name) for color, name in zip(colors, (*VOC_CLASSES, ""), strict=True)]


class ColorTable:
    """Converts colors to class numbers.

    Raises DalError, with ``argument``, if the class of a color is not one of ``classes``.

    >>> table = ColorTable([NamedColor((0, 0, 0), "road"), NamedColor((9, 9, 9), "")], ["road", "sky"], "colors.csv")
    >>> table.numbers(np.array([[[9, 9, 9], [0, 0, 0]]], dtype=np.uint8), "1.png")
    array([[255,   0]])
    """

    def __init__(self, colors: Sequence[NamedColor], classes: Sequence[str], argument: str) -> None:
        place = {name: number for number, name in enumerate(classes)} | {"": IGNORED}
        for _, name in colors:
            if name not in place:
                raise bad_value(argument, f"one of the classes {', '.join(classes[:10])}", name)
        keys = np.array([_key(color) for color, _ in colors], dtype=np.int64)
        order = np.argsort(keys)
        self._keys = keys[order]
        self._numbers = np.array([place[name] for _, name in colors], dtype=np.int64)[order]

    def content(self) -> list[list[int]]:
        """Return the colors and their class numbers."""
        return [self._keys.tolist(), self._numbers.tolist()]

    def numbers(self, pixels: np.ndarray[Any, Any], argument: str) -> np.ndarray[Any, Any]:
        """Return the class number of each pixel of an (H, W, 3) array.

        Raises DalError, with ``argument``, for a color that is not in the table.
        """
        wide = pixels.astype(np.int64)
        keys = wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]
        places = np.searchsorted(self._keys, keys).clip(max=len(self._keys) - 1)
        if (unknown := self._keys[places] != keys).any():
            y, x = np.argwhere(unknown)[0].tolist()
            color = tuple(pixels[y, x].tolist())
            raise bad_content(argument, "colors of the color table", f"{color} at x={x}, y={y}")
        found: np.ndarray[Any, Any] = self._numbers[places]
        return found


def _named_color(row: Row, places: Sequence[int], path: Path) -> NamedColor:
    # Spreadsheets drop empty cells at the end of a row.
    cells = [*row.cells, *[""] * (max(places) + 1 - len(row.cells))]
    *levels, name = (cells[place] for place in places)
    if not all(level.isascii() and level.isdigit() and int(level) <= 255 for level in levels):
        raise DalError(f"{path}: expected r, g and b from 0 to 255 (line {row.line}), got {shortened(levels)}.")
    red, green, blue = map(int, levels)
    return NamedColor((red, green, blue), composed(name))


def _key(color: Color) -> int:
    return color[0] << 16 | color[1] << 8 | color[2]


def _voc_color(number: int) -> Color:
    """Return the color of a class number, whose bits are spread over the channels from the highest bit."""
    levels = [0, 0, 0]
    for bit in range(8):
        for channel in range(3):
            levels[channel] |= (number >> (3 * bit + channel) & 1) << (7 - bit)
    return levels[0], levels[1], levels[2]
