"""The start of a run on a folder of images: its settings and its images, without PyTorch."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dal.data.sources.folder.gone import FirstImages
from dal.runs.files.atomic import write_text
from dal.runs.files.committed import damaged, parsed, read_bytes
from dal.runs.files.points import committed_digests, committed_ids
from dal.runs.files.state import read_state
from dal.runs.layout import CONFIG, LABEL_START, STATE
from dal.runs.saved_config import read_config
from dal.runtime.user_paths import user_path

UNLABELED = "unlabeled_folder"


def write_start(
    path: Path,
    overrides: Sequence[str],
    config: Mapping[str, Any],
    sizes: Sequence[str] = (),
    *,
    images: Sequence[str] | None,
) -> None:
    """Write the settings of a new run, from which the trainer starts, and the ids of its images.

    ``sizes`` are overrides that follow from the number of images.
    """
    images = None if images is None else list(images)
    start = {"overrides": list(overrides), "sizes": list(sizes), "config": config, "images": images}
    write_text(path / LABEL_START, json.dumps(start, indent=1, ensure_ascii=False) + "\n")


def read_start(path: Path) -> dict[str, Any]:
    """Return the settings with which `dal label` started a run. Raises DalError for a damaged file."""
    data = read_bytes(path, LABEL_START)
    start: Any = parsed(path, LABEL_START, lambda: json.loads(data))
    is_fine = isinstance(start, dict) and isinstance(start.get("config"), dict)
    for texts in (start.get("overrides"), start.setdefault("sizes", [])) if is_fine else (None,):
        if not (isinstance(texts, list) and all(isinstance(one, str) for one in texts)):
            raise damaged(path, LABEL_START)
    found: dict[str, Any] = start
    return found


def first_images(run: Path, root: str | Path) -> FirstImages | None:
    """Return the images with which a run on a folder of images started, or None for a new run.

    These are the points of the run, although the folder may have others now. Raises DalError for a damaged file.
    """
    if os.path.lexists(run / STATE):
        if not _is_same(read_config(run / CONFIG), root):
            return None
        state = read_state(run)
        ids = committed_ids(run, state)
        return None if ids is None else FirstImages(ids, committed_digests(run, state))
    if not os.path.lexists(run / LABEL_START):
        return None
    start = read_start(run)
    images = start.get("images")
    if not isinstance(images, list) or not _is_same(start["config"], root):
        return None
    if not all(isinstance(one, str) for one in images):
        raise damaged(run, LABEL_START)
    return FirstImages(images)


def _is_same(config: Mapping[str, Any], root: str | Path) -> bool:
    """Return whether a configuration has the unlabeled images of this folder."""
    data = config.get("data")
    if not isinstance(data, Mapping) or data.get("name") != UNLABELED:
        return False
    return user_path(str(data.get("root"))).resolve() == user_path(root).resolve()
