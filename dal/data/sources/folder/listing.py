"""Lists the images of a folder unopened, and counts skipped files."""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from dal.data.sources.folder.formats import is_image, kind
from dal.data.sources.folder.names import composed, is_utf8
from dal.errors import DalError, bad_value

_NAMED = 3
_KINDS = 8
_OTHER_KINDS = 20
# Folders in which operating systems and storage devices keep previews and deleted files.
_SYSTEM_FOLDERS = {
    "#recycle", "#snapshot", "$recycle.bin", "@eadir", "@recently-snapshot", "@recycle", "@tmp", "__macosx",
    "lost+found", "network trash folder", "recycled", "recycler", "system volume information", "temporary items",
    "~snapshot",
}  # fmt: skip
# Files that file managers write into each folder. They never contain user data.
_SYSTEM_FILES = {".directory", ".ds_store", "desktop.ini", "ehthumbs.db", "thumbs.db"}


@dataclass
class Listing:
    """The images below a folder, and everything else by kind."""

    root: Path
    files: list[str] = field(default_factory=list)
    """POSIX paths relative to root, sorted by their composed form."""
    left_out: dict[str, list[str]] = field(default_factory=dict)
    """Maps a kind, such as ``.txt``, to the skipped paths."""
    folders: list[str] = field(default_factory=list)
    """Names of the folders directly in root."""

    def ignore(self, file: Path) -> None:
        """Do not count a file with another purpose, such as a CSV."""
        real = os.path.realpath(file)
        for what, names in list(self.left_out.items()):
            self.left_out[what] = [name for name in names if os.path.realpath(self.root / name) != real]
            if not self.left_out[what]:
                del self.left_out[what]

    def empty_folders(self) -> list[str]:
        """Return the sorted folders directly in root whose trees contain no image."""
        used = {file.split("/", 1)[0] for file in self.files}
        return sorted(set(self.folders) - used)

    def reason(self, path: str) -> str | None:
        """Return why a path is skipped, or None if it is not."""
        for what, names in self.left_out.items():
            if any(path == composed(name) or path.startswith(f"{composed(name)}/") for name in names):
                return what
        return None

    def summary(self) -> str:
        """Describe the skipped files by kind, with counts and first names."""
        kinds = sorted(self.left_out.items(), key=lambda item: (-len(item[1]), item[0]))
        parts = [f"{what}: {len(names):,} ({shown(sorted(names))})" for what, names in kinds[:_KINDS]]
        if rest := kinds[_KINDS:]:
            total = sum(len(names) for _, names in rest)
            parts.append(f"{len(rest)} other kinds ({shown([what for what, _ in rest], _OTHER_KINDS)}): {total:,}")
        return "; ".join(parts)

    def warn(self, classes: bool) -> None:
        """Warn once about everything that is skipped.

        ``classes`` is whether folders are classes.
        """
        sentences = []
        if self.left_out:
            sentences.append(f"{self.root}: files that are not images are skipped: {self.summary()}.")
        if classes and (empty := self.empty_folders()):
            sentences.append(f"{self.root}: folders without images are not classes: {shown(empty)}.")
        if sentences:
            warnings.warn(" ".join(sentences), stacklevel=2)


def shown(names: Sequence[str], most: int = _NAMED) -> str:
    """Return the first names, with escapes for unprintable characters.

    >>> shown(["a", "b\\n", "c", "d"])
    'a, b\\\\n, c, ...'
    """
    first = [repr(name)[1:-1] if not name.isprintable() else name for name in names[:most]]
    return ", ".join(first + ["..."] * (len(names) > most))


def existing_folder(argument: str, folder: str) -> Path:
    """Return the folder as a path, with ``~`` expanded.

    Raises DalError if it does not exist or the name is empty.
    """
    try:
        path = Path(folder).expanduser()
        exists = bool(folder) and path.is_dir()
    except (OSError, RuntimeError, ValueError):  # a name that no folder can have
        exists = False
    if not exists:
        raise bad_value(argument, "an existing folder of images", folder)
    return path


def image_files(root: Path) -> list[str]:
    """Return the sorted POSIX paths of all images, relative to root.

    >>> image_files(Path("no/such/folder"))
    []
    """
    return list_images(root).files


def list_images(root: Path, argument: str = "root") -> Listing:
    """List all images below root.

    Images are regular files with a suffix of a format that Pillow decodes. Hidden files and folders (with a leading
    dot), folders of the operating system, and everything that is not a regular file are skipped and counted. Symbolic
    links are followed, except those that form a cycle.

    Raises DalError, with ``argument``, if a folder cannot be read.
    """
    found = Listing(root)
    if not root.is_dir():
        return found
    pending = [(str(root), "", frozenset({os.path.realpath(root)}))]
    while pending:
        folder, prefix, above = pending.pop()
        for entry in _entries(argument, folder):
            path = prefix + entry.name
            what = _left_out(entry)
            if what == "folder":
                real = os.path.realpath(entry.path)
                if real in above:
                    what = "links to a folder around them"
                else:
                    pending.append((entry.path, f"{path}/", above | {real}))
                    if not prefix:
                        found.folders.append(entry.name)
                    continue
            if what is None:
                found.files.append(path)
            elif entry.name.lower() not in _SYSTEM_FILES:
                found.left_out.setdefault(what, []).append(path)
    found.files.sort(key=lambda file: (composed(file), file))
    _check_composed(argument, found.files)
    return found


def _entries(argument: str, folder: str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError as error:
        raise bad_value(argument, "folders that can be read", f"{folder} ({error.strerror})") from error


def _left_out(entry: os.DirEntry[str]) -> str | None:
    """Return the kind of a skipped entry, or None for an image."""
    try:
        mode = entry.stat().st_mode
    except OSError:
        return "broken links" if entry.is_symlink() else "unreadable"
    if entry.name.startswith("."):
        return "hidden folders" if stat.S_ISDIR(mode) else "hidden files"
    if stat.S_ISDIR(mode):
        return "system folders" if entry.name.lower() in _SYSTEM_FOLDERS else "folder"
    if not stat.S_ISREG(mode):
        return "pipes, sockets or devices"
    return None if is_image(entry.name) else kind(entry.name)


def _check_composed(argument: str, files: Sequence[str]) -> None:
    """Raise DalError if two paths are equal after Unicode composition."""
    for first, second in pairwise(files):
        if composed(first) == composed(second):
            expected = "file names that differ in more than Unicode composition"
            raise DalError(f"{argument}: expected {expected}, got {first!a} and {second!a}.")


def folder_labels(files: Sequence[str], argument: str = "data.root") -> dict[str, str]:
    """Map each image to its class, the first folder of its path.

    An image outside any folder has no label. Raises DalError for a folder whose name is not UTF-8.

    >>> folder_labels(["cat/1.jpg", "cat/more/2.jpg", "3.jpg"])
    {'cat/1.jpg': 'cat', 'cat/more/2.jpg': 'cat'}
    """
    first = {file: file.split("/", 1)[0] for file in files if "/" in file}
    for name in first.values():
        if not is_utf8(name):
            raise DalError(f"{argument}: expected class folders with names in UTF-8, got {name!a}. Rename the folder.")
    return {file: composed(name) for file, name in first.items()}


def class_numbers(argument: str, names: Mapping[str, str], classes: Sequence[str]) -> dict[str, int]:
    """Map images to class numbers. Raises DalError for an unknown class.

    >>> class_numbers("root", {"1.jpg": "dog"}, ["cat", "dog"])
    {'1.jpg': 1}
    """
    number = {name: position for position, name in enumerate(classes)}
    for image, name in names.items():
        if name not in number:
            shown = ", ".join(classes[:10]) + (", ..." if len(classes) > 10 else "")
            raise bad_value(argument, f"one of the classes {shown} as the label of {image}", name)
    return {image: number[name] for image, name in names.items()}
