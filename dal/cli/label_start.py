"""Finds or starts the run folder of `dal label`, without PyTorch."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dal.config.settings import sections
from dal.data.sources.folder.listing import existing_folder, list_images
from dal.data.sources.folder.names import check_class_names, check_listed_names
from dal.errors import DalError, bad_content, bad_value, unknown_choice
from dal.labeling.people.events import is_class_name
from dal.labeling.people.people_run import UNLABELED, PeopleRun, has_page, images_digest, read_start, write_start
from dal.runs.layout import ANSWERS, CONFIG, LABEL_START, STATE, UNCOMMITTED
from dal.runtime.refusals import explained

RUNS = Path("runs") / "label"
_FIXED = 4  # overrides of start_overrides() that come before those of the user
_CONTROLLED = ("data.root", "data.classes", "data", "oracle", "oracle.kind", "oracle.wait", "experiment")


def open_run(paths: Sequence[str], classes: str | None) -> PeopleRun:
    """Return the run to label in: an existing one, or a new one for a folder of images.

    The same arguments find the same run again. Raises DalError for other arguments than those of the run.
    """
    folders = [path for path in paths if "=" not in path or Path(path).is_dir()]
    overrides = [path for path in paths if path not in folders]
    if len(folders) != 1:
        raise bad_value("dal label", "one folder of images, or one run folder", folders or "none")
    folder = Path(folders[0])
    if any(os.path.lexists(folder / name) for name in (LABEL_START, STATE, CONFIG)):
        if overrides or classes is not None:
            given = overrides[0] if overrides else f"--classes {classes}"
            raise bad_value("dal label RUN", "no settings, because the run has its own", given)
        run = PeopleRun(folder)
        if not has_page(folder):
            raise DalError(
                f"dal label: expected a run of dal label or dal run, got {str(folder)!r}, a run of a program with data "
                "that this command cannot load. Use dal ask and dal tell, and run the program again."
            )
        return run
    return _start(folder, overrides, classes)


def _start(folder: Path, overrides: list[str], classes: str | None) -> PeopleRun:
    root = existing_folder("data.root", str(folder))
    for text in overrides:
        key = text.partition("=")[0].lstrip("+~")
        if key in _CONTROLLED:
            raise bad_value(key, "no value, because dal label sets it", text)
    run_dir, overrides = _run_dir(root, overrides)
    path = Path(run_dir).expanduser()
    known = os.path.lexists(path / LABEL_START)
    if classes is None and not known:
        raise DalError("--classes: expected the names of the classes, such as --classes cat,dog, got none.")
    if classes is not None:
        names = class_list(classes)
        all_overrides = start_overrides(root, names, overrides)
        config = start_config(root, names, overrides)
        is_committed = os.path.lexists(path / STATE)
        before: dict[str, Any] = read_start(path) if known else {"overrides": all_overrides}
        if is_committed or before["overrides"][:_FIXED] != all_overrides[:_FIXED]:
            _check_same(path, before["overrides"], all_overrides)
        # Without an answer and a commit, nothing depends on the images at the first start.
        if not known or not (is_committed or os.path.lexists(path / ANSWERS)):
            _create(path, root, all_overrides, config)
        elif before["overrides"] != all_overrides:
            # Nothing is trained yet, so that a setting can be corrected.
            write_start(path, all_overrides, config, before.get("images"))
    elif overrides:
        raise bad_value("dal label", f"no settings, because the run in {str(path)!r} has its own", overrides[0])
    return PeopleRun(path)


def class_list(text: str) -> list[str]:
    """Return the class names of ``--classes``.

    >>> class_list("cat, dog,bird")
    ['cat', 'dog', 'bird']
    """
    names = check_class_names(part for part in text.split(","))
    if len(names) < 2:
        raise bad_value("--classes", "at least two names, separated by commas", text)
    for name in names:
        if not is_class_name(name) or not name.isprintable():
            raise bad_value("--classes", "printable names that do not begin with =", name)
        if "${" in name:  # an interpolation in the settings
            raise bad_value("--classes", "names without ${", name)
    check_listed_names("--classes", names)
    return names


def start_overrides(root: Path, classes: Sequence[str], overrides: Sequence[str]) -> list[str]:
    """Return the overrides from which the trainer composes its configuration."""
    folder = str(root.resolve())
    if "${" in folder:  # an interpolation in the settings
        raise bad_value("data.root", "a path without ${", folder)
    quoted = ",".join(_quoted(name) for name in classes)
    return ["experiment=label", f"data.root={_quoted(folder)}", f"data.classes=[{quoted}]", "oracle=people", *overrides]


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\") if text.endswith("\\") or "\\'" in text else text
    return "'{}'".format(escaped.replace("'", "\\'"))


def _run_dir(root: Path, overrides: Sequence[str]) -> tuple[str, list[str]]:
    given = [text.partition("=")[2] for text in overrides if text.startswith("run_dir=")]
    rest = [text for text in overrides if not text.startswith("run_dir=")]
    return (given[-1] if given else str(RUNS / (root.resolve().name or "images"))), rest


def _create(path: Path, root: Path, overrides: list[str], config: Mapping[str, Any]) -> None:
    if path.is_dir() and any(entry.name not in UNCOMMITTED for entry in path.iterdir()):
        raise DalError(f"run_dir: {str(path)!r} is not a run folder and not empty. Choose another with run_dir=FOLDER.")
    if path.resolve().is_relative_to(root.resolve()):
        raise bad_value("run_dir", f"a folder outside of the images in {str(root)!r}", str(path))
    listing = list_images(root, "data.root")
    if not listing.files:
        left_out = f" (skipped: {listing.summary()})" if listing.left_out else ""
        raise bad_content("data.root", "a folder tree with images", f"none in {str(root)!r}{left_out}")
    listing.warn(classes=False)
    with explained("run_dir", path, "Choose another run_dir."):
        path.mkdir(parents=True, exist_ok=True)
        write_start(path, overrides, config, images_digest(listing.files))


def start_config(root: Path, classes: Sequence[str], overrides: Sequence[str]) -> dict[str, Any]:
    """Return the settings of a run that the page needs.

    Raises DalError for an unknown key. The trainer checks the values.
    """
    chosen = ["experiment=label", "oracle=people", *overrides]
    found = {setting.key: setting.value for section in sections(chosen) for setting in section.settings}
    for text in overrides:
        key = text.partition("=")[0]
        if "." in key and not key.startswith(("+", "~")) and key not in found:
            section, _, name = key.partition(".")
            raise unknown_choice(section, [k.partition(".")[2] for k in found if k.startswith(f"{section}.")], name)
    config: dict[str, Any] = {}
    kept = ("data.", "campaign.", "oracle.", "prices.", "seed")
    for key, value in found.items():
        if key.startswith(kept):
            *parents, last = key.split(".")
            place = config
            for parent in parents:
                place = place.setdefault(parent, {})
            place[last] = value
    config["data"] |= {"name": UNLABELED, "root": str(root.resolve()), "classes": list(classes)}
    config["oracle"]["kind"] = "people"
    if config["campaign"]["initial"] == "balanced":
        raise bad_value("campaign.initial", "random, typiclust or kmeans, which read no label", "balanced")
    return config


def _check_same(path: Path, before: Sequence[str], now: Sequence[str]) -> None:
    """Raise DalError for the first setting that differs. The order of settings does not matter."""
    old, new = (dict(text.partition("=")[::2] for text in texts) for texts in (before, now))
    for key in dict.fromkeys([*new, *old]):
        if old.get(key) != new.get(key):
            hint = " Change classes on its page." if key == "data.classes" else ""
            first, given = (texts.get(key) or "nothing" for texts in (old, new))
            raise DalError(
                f"{key}: expected {first}, as at the start of the run in {str(path)!r}, got {given}. Choose another "
                f"run with run_dir=FOLDER, or go on with dal label {shlex.quote(str(path))}.{hint}"
            )
