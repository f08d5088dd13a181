"""Tells which images of a folder are gone, without PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dal.data.sources.folder.listing import shown


class FirstImages(NamedTuple):
    """The images with which a run started: their ids by index, and the digests of their files if they are known.

    The digest of an image that could not be decoded is all zeros.
    """

    ids: Sequence[str]
    digests: Sequence[bytes] | None = None


def gone(root: Path, files: Sequence[str], indices: Sequence[int]) -> list[int]:
    """Return those of the images whose files are gone.

    None is gone if no file of the folder is there, as on a disk that is not mounted. ``files`` are paths relative to
    ``root``, by index.

    >>> gone(Path("no/such/folder"), ["a.jpg"], [0])
    []
    """
    found = [index for index in indices if _is_gone(root / files[index])]
    if found and len(found) == len(indices) and all(_is_gone(root / file) for file in files):
        return []
    return found


def is_lost(root: Path, files: Sequence[str], index: int) -> bool:
    """Return whether an image that could not be decoded is gone or damaged.

    It is neither if its disk is not mounted or fails to read.

    >>> is_lost(Path("no/such/folder"), ["a.jpg"], 0)
    False
    """
    try:
        with (root / files[index]).open("rb") as file:
            file.read(1)
    except FileNotFoundError:
        return bool(gone(root, files, [index]))
    except OSError:
        return False
    return True


def _is_gone(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):  # such as a folder that this user cannot read
        return False
    return False


def new_images_sentence(root: Path, ids: Sequence[str]) -> str:
    """Say that images are not part of a run.

    >>> new_images_sentence(Path("photos"), ["a.jpg"])
    'photos: 1 new image is not part of this run (a.jpg). To label it, start another run with run_dir=FOLDER.'
    """
    what = "1 new image is" if len(ids) == 1 else f"{len(ids):,} new images are"
    them = "it" if len(ids) == 1 else "them"
    return (
        f"{root}: {what} not part of this run ({shown(ids)}). To label {them}, start another run with run_dir=FOLDER."
    )


def gone_sentence(root: Path | str, ids: Sequence[str]) -> str:
    """Say that a run goes on without images.

    >>> gone_sentence("photos", ["a.jpg", "b.jpg"])
    'photos: 2 images of the run are gone or cannot be read (a.jpg, b.jpg). The run goes on without them.'
    """
    one = len(ids) == 1
    what = "1 image of the run is gone or cannot" if one else f"{len(ids):,} images of the run are gone or cannot"
    return f"{root}: {what} be read ({shown(ids)}). The run goes on without {'it' if one else 'them'}."
