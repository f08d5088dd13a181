"""Reads the images of a run for the page of `dal explain`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dal.config.saved_run import config_to_rank
from dal.config.schema import build
from dal.data import load
from dal.data.images import ImageSplits
from dal.errors import DalError, reason
from dal.reports.explanation.view import ImageOf
from dal.runs.files.points import named_changes
from dal.runs.files.same_data import changes_in_words
from dal.runs.files.state import read_state
from dal.runs.layout import CONFIG
from dal.runs.saved_config import read_config


def images_of(run: Path) -> tuple[ImageOf | None, str]:
    """Return the images of a run's data set, or None and the sentence that says why there are none.

    Raises DalError if there is no run.
    """
    state = read_state(run)
    chosen = read_config(run / CONFIG).get("data")
    if not (isinstance(chosen, Mapping) and "name" in chosen):
        return None, "There are no thumbnails, because the run does not name its data set. Pass images to explain()."
    try:
        splits = load(build(config_to_rank(run, ())).data)
    except (DalError, OSError, ImportError) as error:
        return None, f"There are no thumbnails, because the data set cannot be read: {reason(error)}."
    now = splits.fingerprint()
    different = changes_in_words(str(state["data"]), now, lambda: named_changes(run, state, now))
    if different:
        return None, f"There are no thumbnails, because the run started with {different}."
    return reader(splits), ""


def reader(splits: ImageSplits) -> ImageOf:
    """Return a function that reads an image (H, W, C) of a split.

    Normalized pixels are scaled to the range of the image.
    """

    def image_of(split: str, index: int) -> NDArray[np.uint8] | None:
        data = splits.test if split == "test" else splits.train
        if data is None or not 0 <= index < len(data):
            return None
        pixels = data.source.batch([index])[0].numpy(force=True).transpose(1, 2, 0)
        if pixels.dtype == np.uint8:
            return np.asarray(pixels, dtype=np.uint8)
        low, high = float(pixels.min()), float(pixels.max())
        return np.asarray(255 * (pixels - low) / max(high - low, 1e-12), dtype=np.uint8)

    return image_of
