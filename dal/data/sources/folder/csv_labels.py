"""Reads the labels of images from a CSV file."""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dal.data.sources.folder.csv_text import Row, read_text, rows
from dal.data.sources.folder.names import composed
from dal.errors import DalError, bad_value, shortened

_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_COLUMNS = ("label", "labels")

MISSING = {
    "#div/0!", "#n/a", "#name?", "#ref!", "#value!", "-", "--", ".", "<na>", "<null>", "?", "\\n", "n/a", "na", "nan",
    "nil", "none", "null", "undefined", "unlabeled", "unlabelled",
}  # fmt: skip
"""Texts, in lower case, that other programs write for a missing value."""
_MOST_CHARACTERS = 255

Explain = Callable[[str], str | None]
"""Maps a path to the reason why the file is not an image of the data, or None."""


@dataclass(frozen=True)
class Table:
    """The header and the rows of a CSV file of labels."""

    path: Path
    delimiter: str
    columns: list[str]
    rows: list[Row]

    @property
    def label_column(self) -> str:
        """``label`` or ``labels``."""
        return next(name for name in _COLUMNS if name in self.columns)


def csv_label_column(path: Path) -> str:
    """Return the name of the class column, ``label`` or ``labels``.

    Raises DalError if the file cannot be read, or does not have the column id and exactly one of the two.
    """
    return _table(path, "label (or labels, for several classes per image)").label_column


def csv_labels(path: Path, files: Collection[str], explain: Explain = lambda path: None) -> dict[str, str]:
    """Map images to classes, read from a CSV file.

    The file is UTF-8 and has the columns id and label. Other columns are ignored. Columns are separated by commas, or
    by semicolons or tabs with a warning. An id is a path relative to the image folder. An empty label marks an
    unlabeled point.

    Raises DalError, with the line, if the file cannot be read or is malformed, if a column is missing or repeated, if a
    row has more cells than the header, if a label is not printable, or if an id is repeated or is not one of the files.
    """
    found = {image: composed(cell) for image, cell in _cells(path, "label", files, explain).items()}
    if 2 * sum(";" in label for label in found.values()) > len(found):
        example = next(label for label in found.values() if ";" in label)
        warnings.warn(
            f"csv: each label of {path} is one class, such as {example!r}. If semicolons separate several classes, "
            "name the column labels.",
            stacklevel=3,
        )
    return found


def csv_label_sets(
    path: Path, files: Collection[str], explain: Explain = lambda path: None
) -> dict[str, tuple[str, ...]]:
    """Map images to sets of classes, read from the column ``labels``.

    Semicolons separate the classes. An empty cell marks an unlabeled point. A cell with a single semicolon means that
    none of the classes applies.

    Raises DalError as csv_labels() does, and for a cell with an empty or repeated class.
    """
    found = {}
    for image, cell in _cells(path, "labels", files, explain).items():
        names = tuple(composed(name.strip()) for name in cell.removesuffix(";").split(";"))
        if names == ("",):
            names = ()
        if "" in names:
            raise bad_value("data.csv", f"classes separated by one semicolon as the labels of {image}", cell)
        if len(set(names)) < len(names):
            raise bad_value("data.csv", f"each class once in the labels of {image}", cell)
        found[image] = names
    return found


def _table(path: Path, column: str) -> Table:
    """Read the file with the delimiter of its header."""
    text = read_text(path)
    fitting, headers, errors = [], [], []
    for delimiter in _DELIMITERS:
        try:
            header = next(rows(text, delimiter, path), Row(1, []))
        except DalError as error:
            errors.append(error)
            continue
        headers.append(header.cells)
        if header.cells.count("id") == 1 and sum(header.cells.count(name) for name in _COLUMNS) == 1:
            fitting.append((delimiter, header.cells))
    if not headers:
        raise errors[0]
    if len(fitting) != 1:
        columns = max(headers, key=len)
        raise bad_value("data.csv", f"the columns id and {column} in {path}", columns)
    delimiter, columns = fitting[0]
    return Table(path, delimiter, columns, list(rows(text, delimiter, path))[1:])


def _cells(path: Path, column: str, files: Collection[str], explain: Explain) -> dict[str, str]:
    """Map images to the cells of a column that are not empty."""
    table = _table(path, column)
    if column not in table.columns:
        raise bad_value("data.csv", f"the columns id and {column} in {path}", table.columns)
    if table.delimiter != ",":
        warnings.warn(f"data.csv: {path} is read with {_DELIMITERS[table.delimiter]} as delimiters.", stacklevel=4)
    at_id, at_label = table.columns.index("id"), table.columns.index(column)
    known = {composed(file): file for file in files}
    cells, seen = dict[str, str](), set[str]()
    for line, row in table.rows:
        where = f"line {line} of {path}"
        row = _whole(row, len(table.columns), at_id, where)
        image = known.get(composed(PurePosixPath(row[at_id]).as_posix()))
        if image is None or not row[at_id]:
            raise _unknown_id(row[at_id], known, where, explain)
        if image in seen:
            raise bad_value("data.csv", f"each id once ({where})", image)
        seen.add(image)
        if not _is_text(row[at_label]):
            raise bad_value("data.csv", f"a label on one line without control characters ({where})", row[at_label])
        if column == "label" and len(row[at_label]) > _MOST_CHARACTERS:
            raise bad_value("data.csv", f"a label of at most {_MOST_CHARACTERS} characters ({where})", row[at_label])
        if row[at_label]:
            cells[image] = row[at_label]
    _warn_of_missing(cells, path)
    return cells


def _warn_of_missing(cells: Mapping[str, str], path: Path) -> None:
    found = [label for label in cells.values() if label.lower() in MISSING]
    if found:
        warnings.warn(
            f"data.csv: {found[0]!r} is read as a class in {path} ({len(found):,} such labels). If the label is "
            "missing, leave the cell empty.",
            stacklevel=5,
        )


def _whole(row: list[str], width: int, at_id: int, where: str) -> list[str]:
    """Return the row with the same number of cells as the header.

    Spreadsheets add and drop empty cells at the end of a row. A row with only an id has no label.
    """
    only_id = len(row) > at_id and not any(row[:at_id] + row[at_id + 1 :])
    if any(row[width:]) or (len(row) < width and not only_id):
        raise DalError(
            f"data.csv: expected {width} cells ({where}), got {len(row)}. Put quotes around a cell that contains a "
            "delimiter, and keep the delimiters of empty cells."
        )
    return (row + [""] * width)[:width]


def _is_text(label: str) -> bool:
    """Return whether the label has no line breaks, control or replacement characters."""
    if label.isprintable() and "\ufffd" not in label:
        return True
    return "\ufffd" not in label and all(unicodedata.category(c) not in ("Cc", "Zl", "Zp") for c in label)


def _unknown_id(given: str, known: Collection[str], where: str, explain: Explain) -> DalError:
    image, got = composed(PurePosixPath(given).as_posix()), shortened(given)
    if given and (reason := explain(image)):
        return DalError(f"data.csv: expected images as ids ({where}), got {got}, which is skipped: {reason}.")
    near = {name.lower(): name for name in known}.get(image.replace("\\", "/").lower())
    hint = f" (did you mean {near!r}?)" if given and near else ""
    return DalError(f"data.csv: expected existing image files below the root as ids ({where}), got {got}{hint}.")
