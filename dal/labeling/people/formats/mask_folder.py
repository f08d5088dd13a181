"""The folder in which people get the units to draw, and give the masks."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from dal.data.sources.folder.listing import list_images, shown
from dal.errors import DalError, bad_content
from dal.labeling.people.crops import context, crop, upright
from dal.labeling.people.events import LABEL
from dal.labeling.people.formats.incoming import Told
from dal.labeling.people.formats.outgoing import asked_text
from dal.labeling.people.masks import UnitPlaces
from dal.runs.asked import AskedLine
from dal.runs.files.atomic import write_bytes, write_text
from dal.runtime.refusals import explained

ASK_FILE, MASK_FOLDER = "ask.csv", "masks"
_IMAGES, _CONTEXT, _CLASSES = "images", "context", "classes.txt"


def write_units(folder: Path, asked: Sequence[AskedLine], places: UnitPlaces, classes: Sequence[str]) -> None:
    """Write the pixels of each unit, its image with the unit outlined, and the table of the masks that are missing.

    The table ``ask.csv`` is written last. Raises DalError for a folder with other files.
    """
    with explained("--files", folder):
        if os.path.lexists(folder) and (not folder.is_dir() or (any(folder.iterdir()) and not _is_ours(folder))):
            raise bad_content("--files", "a new folder, or one that dal ask has written", f"{str(folder)!r}")
        (folder / MASK_FOLDER).mkdir(parents=True, exist_ok=True)
        for line in asked:
            place, name = places.of(line.index), file_name(line.id)
            image = upright(place)
            _write(folder / _IMAGES / name, crop(image, place))
            if (place.box.width, place.box.height) != image.size:
                _write(folder / _CONTEXT / name, context(image, place))
        write_text(folder / _CLASSES, "".join(f"{name}\n" for name in classes))
        boxes = [places.of(line.index).box for line in asked]
        masks = [f"{MASK_FOLDER}/{file_name(line.id)}" for line in asked]
        write_text(folder / ASK_FILE, asked_text(asked, "csv", boxes, masks))


def file_name(id: str) -> str:
    """Return the name of the files of a unit, which its id determines.

    >>> file_name("street/17.jpg#r3,c5"), file_name("a.png")
    ('street/17.jpg_r3_c5.png', 'a.png.png')
    """
    image, _, unit = id.rpartition("#") if "#r" in id else (id, "", "")
    return f"{image}_{unit.replace(',', '_')}.png" if unit else f"{id}.png"


def other_masks(folder: Path, named: Sequence[str], ids: Sequence[str]) -> list[Told]:
    """Return the masks in the folder of units with these ids that no row of the table names, as of an earlier table.

    Raises DalError for a file that is the mask of no unit.
    """
    known = {os.path.normpath(name) for name in named}
    by_name = {file_name(id): id for id in ids}
    files = list_images(folder / MASK_FOLDER, "masks").files if (folder / MASK_FOLDER).is_dir() else []
    others = [file for file in files if os.path.normpath(f"{MASK_FOLDER}/{file}") not in known]
    if strays := [file for file in others if file not in by_name]:
        expected = f"only masks with the names in the column mask of {ASK_FILE} in {str(folder / MASK_FOLDER)!r}"
        raise bad_content("masks", expected, shown(strays))
    return [Told(0, by_name[file], LABEL, f"{MASK_FOLDER}/{file}") for file in others]


def _is_ours(folder: Path) -> bool:
    return (folder / ASK_FILE).is_file() or {path.name for path in folder.iterdir()} <= {_IMAGES, _CONTEXT, MASK_FOLDER}


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, data)


def table_of(path: Path) -> Path:
    """Return the table in a folder of masks. Raises DalError if the folder has none."""
    table = path / ASK_FILE
    if not table.is_file():
        raise DalError(f"answers: expected a file, or a folder that dal ask --files has written, got {str(path)!r}.")
    return table
