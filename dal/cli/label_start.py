"""Finds or starts the run folder of `dal label`, without PyTorch."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dal.cli.small_folder import small_sizes
from dal.config.settings import sections
from dal.config.trusted_files import is_trusted, remember
from dal.data.grid import Grid
from dal.data.sources.folder.listing import existing_folder, list_images
from dal.data.sources.folder.names import check_class_names, check_listed_names, composed
from dal.errors import DalError, bad_content, bad_value, unknown_choice
from dal.labeling.people.events import is_class_name
from dal.labeling.people.people_run import PeopleRun, has_page
from dal.labeling.people.start import UNLABELED, read_start, write_start
from dal.runs.files.committed import parsed
from dal.runs.files.state import is_count
from dal.runs.layout import ANSWERS, CONFIG, LABEL_START, STATE, UNCOMMITTED
from dal.runs.saved_config import WHEN_ASKED
from dal.runtime.refusals import explained
from dal.runtime.user_paths import is_folder, user_path

RUNS = Path("runs") / "label"
_FIXED = 4  # overrides of start_overrides() that come before those of the user
_CONTROLLED = ("data.root", "data.classes", "data", "oracle", "oracle.kind", "oracle.wait", "experiment")


def open_run(paths: Sequence[str], classes: str | None) -> PeopleRun:
    """Return the run to label in: an existing one, or a new one for a folder of images.

    The same arguments find the same run again. Raises DalError for other arguments than those of the run.
    """
    folders = [path for path in paths if "=" not in path or is_folder(path)]
    overrides = [path for path in paths if path not in folders]
    if len(folders) != 1:
        raise bad_value("dal label", "one folder of images, or one run folder", folders or "none")
    folder = Path(folders[0])
    if any(os.path.lexists(folder / name) for name in (LABEL_START, STATE, CONFIG)):
        if classes is not None:
            raise bad_value("dal label RUN", "no settings, because the run has its own", f"--classes {classes}")
        run = PeopleRun(folder)
        if not has_page(folder):
            raise DalError(
                f"dal label: expected a run of dal label or dal run, got {str(folder)!r}, a run of a program with data "
                "that this command cannot load. Use dal ask and dal tell, and run the program again."
            )
        if not overrides:
            return run
        _change("dal label RUN", folder, overrides)
        return PeopleRun(folder)
    return _start(folder, overrides, classes)


def _start(folder: Path, overrides: list[str], classes: str | None) -> PeopleRun:
    root = existing_folder("data.root", str(folder))
    for text in overrides:
        key = text.partition("=")[0].lstrip("+~")
        if key in _CONTROLLED:
            raise bad_value(key, "no value, because dal label sets it", text)
    run_dir, overrides = _run_dir(root, overrides)
    path = user_path(run_dir)
    known = os.path.lexists(path / LABEL_START)
    if classes is None and not known:
        raise DalError("--classes: expected the names of the classes, such as --classes cat,dog, got none.")
    if classes is not None:
        names = class_list(classes)
        all_overrides = start_overrides(root, names, overrides)
        _ = start_config(root, names, overrides)  # an invalid setting creates no folder
        is_committed = os.path.lexists(path / STATE)
        before: dict[str, Any] = read_start(path) if known else {"overrides": all_overrides}
        if is_committed or before["overrides"][:_FIXED] != all_overrides[:_FIXED]:
            _check_same(path, before["overrides"], all_overrides)
        # Without an answer and a commit, nothing depends on the images at the first start.
        if not known or not (is_committed or os.path.lexists(path / ANSWERS)):
            _create(path, root, names, all_overrides)
        elif before["overrides"] != all_overrides:
            # Nothing is trained yet, so that a setting can be corrected, or the settings only say when to ask people.
            images = before.get("images")
            _write(path, all_overrides, *_sized(root, names, all_overrides, images), images=images)
    else:
        _change("dal label", path, overrides)
    return PeopleRun(path)


def _write(path: Path, *start: Any, images: Sequence[str] | None) -> None:
    """Write the start of a run, whose settings this machine then trusts, because they come from its command line."""
    write_start(path, *start, images=images)
    remember(path / LABEL_START)


def _change(command: str, path: Path, overrides: Sequence[str]) -> None:
    """Record other values of settings that say when people are asked.

    Raises DalError for other settings, and for a run that `dal run` started, which has its settings from there.
    """
    if not overrides:
        return
    refused = [text for text in overrides if text.partition("=")[0] not in WHEN_ASKED]
    if refused or not os.path.lexists(path / LABEL_START):
        where = "" if command.endswith("RUN") else f" in {str(path)!r}"
        raise bad_value(command, f"no settings, because the run{where} has its own", (refused or overrides)[0])
    start = read_start(path)
    keys = {text.partition("=")[0] for text in overrides}
    kept = [text for text in start["overrides"] if text.partition("=")[0] not in keys]
    root, classes = parsed(path, LABEL_START, lambda: _root_and_classes(start))
    config = start_config(root, classes, [*kept[_FIXED:], *overrides, *start["sizes"]])
    is_known = is_trusted(path / LABEL_START)
    write_start(path, [*kept, *overrides], config, start["sizes"], images=start.get("images"))
    if is_known:
        remember(path / LABEL_START)


def _root_and_classes(start: Mapping[str, Any]) -> tuple[Path, list[str]]:
    data = start["config"]["data"]
    if not isinstance(data["classes"], list):
        raise ValueError("expected a list of classes")
    return Path(data["root"]), list(map(str, data["classes"]))


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
    chosen = [f"experiment={_preset(overrides)}", f"data.root={_quoted(folder)}", f"data.classes=[{quoted}]"]
    return [*chosen, "oracle=people", *overrides]


def _preset(overrides: Sequence[str]) -> str:
    return "label_masks" if "data.task=segmentation" in overrides else "label"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\") if text.endswith("\\") or "\\'" in text else text
    return "'{}'".format(escaped.replace("'", "\\'"))


def _run_dir(root: Path, overrides: Sequence[str]) -> tuple[str, list[str]]:
    given = [text.partition("=")[2] for text in overrides if text.startswith("run_dir=")]
    rest = [text for text in overrides if not text.startswith("run_dir=")]
    return (given[-1] if given else str(RUNS / (root.resolve().name or "images"))), rest


def _create(path: Path, root: Path, classes: Sequence[str], overrides: list[str]) -> None:
    if path.is_dir() and any(entry.name not in UNCOMMITTED for entry in path.iterdir()):
        raise DalError(f"run_dir: {str(path)!r} is not a run folder and not empty. Choose another with run_dir=FOLDER.")
    if path.resolve().is_relative_to(root.resolve()):
        raise bad_value("run_dir", f"a folder outside of the images in {str(root)!r}", str(path))
    listing = list_images(root, "data.root")
    if not listing.files:
        left_out = f" (skipped: {listing.summary()})" if listing.left_out else ""
        raise bad_content("data.root", "a folder tree with images", f"none in {str(root)!r}{left_out}")
    listing.warn(classes=False)
    images = [composed(file) for file in listing.files]
    config, sizes = _sized(root, classes, overrides, images)
    with explained("run_dir", path, "Choose another run_dir."):
        path.mkdir(parents=True, exist_ok=True)
        _write(path, overrides, config, sizes, images=images)


def _sized(
    root: Path, classes: Sequence[str], overrides: list[str], images: Sequence[str] | None
) -> tuple[dict[str, Any], list[str]]:
    """Return the settings of a run, and the sizes among them that follow from the number of its images."""
    own = overrides[_FIXED:]
    config, sizes = start_config(root, classes, own), []
    if images is not None:
        given = [key.partition(".")[2] for text in own if (key := text.partition("=")[0].lstrip("+~"))]
        count, overlap = _num_points(config, images), config["oracle"]["overlap"]
        found = small_sizes(count, config["campaign"], given, len(classes), overlap)
        sizes = [f"campaign.{name}={size}" for name, size in found.items()]
        config = start_config(root, classes, [*own, *sizes])
    _check_budget(config["campaign"])
    return config, sizes


def _num_points(config: Mapping[str, Any], images: Sequence[str]) -> int:
    """Return the number of images, or of their regions if people label regions."""
    data, unit = config["data"], config["campaign"].get("unit")
    sizes = data.get("image_size"), data.get("region_size")
    if data.get("task") != "segmentation" or unit != "region" or not all(is_count(size) and size for size in sizes):
        return len(images)
    return len(images) * len(Grid(sizes[0], *sizes))


def start_config(root: Path, classes: Sequence[str], overrides: Sequence[str]) -> dict[str, Any]:
    """Return the settings of a run that the page needs.

    Raises DalError for an unknown key. The trainer checks the values.
    """
    chosen = [f"experiment={_preset(overrides)}", "oracle=people", *overrides]
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


def _check_budget(campaign: Mapping[str, Any]) -> None:
    """Raise DalError if the first labels exceed the budget. A page without a trainer has no later check."""
    needed, budget = [campaign[f"{name}_size"] for name in ("initial", "validation", "test")], campaign["budget"]
    if not is_count(budget):
        raise bad_value("campaign.budget", "a whole number", budget)
    if all(map(is_count, [*needed, budget])) and sum(needed) > budget:
        expected = f"at least the {sum(needed)} initial, validation and test labels"
        raise bad_value("campaign.budget", expected, budget)


def _check_same(path: Path, before: Sequence[str], now: Sequence[str]) -> None:
    """Raise DalError for the first setting that differs and can change a result. Their order does not matter."""
    old, new = (dict(text.partition("=")[::2] for text in texts) for texts in (before, now))
    for key in dict.fromkeys([*new, *old]):
        if key not in WHEN_ASKED and old.get(key) != new.get(key):
            hint = " Change classes on its page." if key == "data.classes" else ""
            first, given = (texts.get(key) or "nothing" for texts in (old, new))
            raise DalError(
                f"{key}: expected {first}, as at the start of the run in {str(path)!r}, got {given}. Choose another "
                f"run with run_dir=FOLDER, or go on with dal label {shlex.quote(str(path))}.{hint}"
            )
