"""The training set as a run recorded it, for commands that hardly need its images."""

from __future__ import annotations

from pathlib import Path

import torch

from dal.data.images import ImageData
from dal.data.sets.config import DataConfig
from dal.data.sets.image_folder import ImageFolder
from dal.data.sets.photographs import MEAN, STD
from dal.data.sources.folder.decoding import FolderSource
from dal.data.sources.folder.listing import existing_folder, list_images
from dal.data.sources.folder.names import composed
from dal.runs.files.points import committed_points
from dal.runs.files.same_data import changed
from dal.runs.files.state import read_state
from dal.tasks.base import OUT_OF_CLASS, UNKNOWN

_NO_CLASS = {"unlabeled": UNKNOWN, "none of the classes": OUT_OF_CLASS}


def recorded_training_set(data: DataConfig, run: Path) -> ImageData | None:
    """Return the training set of a run on an image folder, without reading its images.

    An image is decoded when it is needed. It is then compared with its recorded digest. Returns None if the images and
    labels of the run do not follow from its records, or if an image is gone.

    Raises DalError for a damaged run folder, or if the folder of images is missing.
    """
    state = read_state(run)
    points = committed_points(run, state)
    if points is None or not isinstance(data, ImageFolder) or points["train"]["digests"] is None:
        return None
    classes, train = points["classes"], points["train"]
    numbers = {name: number for number, name in enumerate(classes)} | _NO_CLASS
    root = existing_folder("data.root", data.root)
    files = {composed(file): file for file in list_images(root, "data.root").files}
    if not files.keys() >= set(train["ids"]) or not numbers.keys() >= set(train["labels"]):
        return None
    digests = [bytes.fromhex(digest) for digest in train["digests"]]
    found = ImageData(
        name=root.resolve().name,
        source=FolderSource(root, [files[id] for id in train["ids"]], data.image_size, digests, check=True),
        ids=list(train["ids"]),
        labels=torch.tensor([numbers[label] for label in train["labels"]], dtype=torch.int64),
        classes=list(classes),
        mean=MEAN,
        std=STD,
    )
    return None if changed(str(state["data"]), found.fingerprint()) else found
