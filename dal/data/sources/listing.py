"""Lists the images of a folder and their labels without opening an image."""

from __future__ import annotations

import csv
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from dal.errors import DalError, bad_value

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""Suffixes of image files, in upper or lower case."""


def existing_folder(argument: str, folder: str) -> Path:
    """Return the folder as a path. Raises DalError if it does not exist or the name is empty."""
    if not folder or not Path(folder).is_dir():
        raise bad_value(argument, "a folder of images that exists", folder)
    return Path(folder)


def image_files(root: Path) -> list[str]:
    """Return the sorted POSIX paths of all images below root, relative to root.

    Names that begin with a dot are ignored. Symbolic links to folders are followed, except those that form a cycle.

    >>> image_files(Path("no/such/folder"))
    []
    """
    if not root.is_dir():
        return []
    found: list[str] = []
    pending = [(root, "", frozenset({os.path.realpath(root)}))]
    while pending:
        folder, prefix, above = pending.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    real = os.path.realpath(entry.path)
                    if real not in above:
                        pending.append((Path(entry.path), f"{prefix}{entry.name}/", above | {real}))
                elif entry.name.lower().endswith(SUFFIXES):
                    found.append(prefix + entry.name)
    return sorted(found)


def folder_labels(files: Sequence[str]) -> dict[str, str]:
    """Map each image to its class, the first folder of its path. An image in no folder has no label.

    >>> folder_labels(["cat/1.jpg", "cat/more/2.jpg", "3.jpg"])
    {'cat/1.jpg': 'cat', 'cat/more/2.jpg': 'cat'}
    """
    return {file: file.split("/", 1)[0] for file in files if "/" in file}


def csv_label_column(path: Path) -> str:
    """``label`` or ``labels``: the column with the classes in a CSV file with the column id.

    Raises DalError where the file cannot be read, and unless it has exactly one of the two.
    """
    with _csv_rows(path) as rows:
        columns = list(rows.fieldnames or [])
    found = [column for column in ("label", "labels") if column in columns]
    if "id" not in columns or len(found) != 1:
        raise bad_value("csv", f"the columns id and label (or labels, for several classes an image) in {path}", columns)
    return found[0]


def csv_labels(path: Path, files: Collection[str]) -> dict[str, str]:
    """Map images to classes, read from a CSV file.

    The file is UTF-8, comma-separated, and has the columns id and label; other columns are ignored. An id is a path
    relative to the image folder. An empty label marks an unlabeled point.

    Raises DalError if the file cannot be read, a column is missing, or an id repeats or is not one of the files.
    """
    return _csv_cells(path, files, "label")


def csv_label_sets(path: Path, files: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Image to classes from the column labels, whose classes have semicolons between them.

    A row whose cell is empty is a point without labels. A cell with nothing but a semicolon says that none of the
    classes applies.

    Raises DalError as csv_labels() does, and for a class that stands twice in a cell.
    """
    found = {}
    for image, cell in _csv_cells(path, files, "labels").items():
        names = tuple(name for name in map(str.strip, cell.split(";")) if name)
        if len(set(names)) < len(names):
            raise bad_value("csv", f"each class once in the labels of {image}", cell)
        found[image] = names
    return found


@contextmanager
def _csv_rows(path: Path) -> Iterator[csv.DictReader[str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            rows = csv.DictReader(lines)
            rows.fieldnames = [column.strip() for column in rows.fieldnames or []]
            yield rows
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DalError(f"csv: expected a CSV file in UTF-8 that can be read at {path}, got {reason}.") from error


def _csv_cells(path: Path, files: Collection[str], column: str) -> dict[str, str]:
    known, cells, seen = set(files), dict[str, str](), set[str]()
    with _csv_rows(path) as rows:
        if not {"id", column} <= set(rows.fieldnames or []):
            raise bad_value("csv", f"the columns id and {column} in {path}", list(rows.fieldnames or []))
        for row in rows:
            image = PurePosixPath((row["id"] or "").strip()).as_posix()
            if image not in known:
                expected = f"image files that exist below the root as ids (line {rows.line_num} of {path})"
                raise bad_value("csv", expected, row["id"])
            if image in seen:
                raise bad_value("csv", f"each id once (line {rows.line_num} of {path})", image)
            seen.add(image)
            if cell := (row[column] or "").strip():
                cells[image] = cell
    return cells


def class_numbers(argument: str, names: Mapping[str, str], classes: Sequence[str]) -> dict[str, int]:
    """Map each image to the position of its class. Raises DalError for an unknown class.

    >>> class_numbers("root", {"1.jpg": "dog"}, ["cat", "dog"])
    {'1.jpg': 1}
    """
    number = {name: position for position, name in enumerate(classes)}
    for image, name in names.items():
        if name not in number:
            shown = ", ".join(classes[:10]) + (", ..." if len(classes) > 10 else "")
            raise bad_value(argument, f"one of the classes {shown} as the label of {image}", name)
    return {image: number[name] for image, name in names.items()}
